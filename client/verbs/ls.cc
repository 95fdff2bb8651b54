// ftctl ls: the queue and what became of it.
#include <algorithm>
#include <iostream>
#include <limits>
#include <optional>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/submit_flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/json_output.h"
#include "client/text/names.h"
#include "client/text/table.h"
#include "client/text/text.h"
#include "client/text/times.h"
#include "lib/base/error.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

using ftd::v1::Job;

struct LsOptions {
  std::vector<std::string> states, labels;
  std::optional<int64_t> limit;
  bool all = false;
  bool quiet = false;
  std::string output = "table";

  // Whether a person reads it, and not a program.
  bool ForPeople() const { return !quiet && (output == "table" || output == "wide"); }
};

// The most jobs to show. People get a screen of the newest; a program that did not ask for less
// gets all. 0 means all as well.
int64_t MostJobs(const LsOptions& options) {
  constexpr int64_t kAll = std::numeric_limits<int64_t>::max(), kForPeople = 50;
  if (options.all || options.limit == 0) return kAll;
  return options.limit.value_or(options.ForPeople() ? kForPeople : kAll);
}

// Checks the states here, where the message can list them; ftd takes only known values.
absl::StatusOr<ftd::v1::ListJobsRequest> FirstPage(const LsOptions& options) {
  ftd::v1::ListJobsRequest request;
  for (const std::string& name : options.states) {
    Job::State state = Job::STATE_UNSPECIFIED;
    if (!Job::State_Parse(absl::AsciiStrToUpper(name), &state) || state == Job::STATE_UNSPECIFIED) {
      return Error(
          Reason::kUsage,
          absl::StrCat("--state ", name,
                       " is not a state; a job is QUEUED, HELD, PREPARING, RUNNING, PAUSING, "
                       "PAUSED, CANCELLING, SUCCEEDED, FAILED or CANCELLED"));
    }
    request.add_states(state);
  }
  FTD_RETURN_IF_ERROR(ParseLabels(options.labels, request.mutable_labels()));
  return request;
}

// "120/900"; without the plan while that is not known.
std::string StepText(const Job& job) {
  const int64_t planned = StepsPlanned(job);
  if (!job.has_last_step()) return "-";
  return absl::StrCat(job.last_step().step(), planned > 0 ? absl::StrCat("/", planned) : "");
}

// The time that the rest takes at the pace of the last step; "-" when the job does not run.
std::string EtaText(const Job& job) {
  const int64_t left = StepsPlanned(job) - job.last_step().step();
  if (job.state() != Job::RUNNING || !job.has_last_step() || left < 0) return "-";
  return ShortDuration(static_cast<double>(left) * job.last_step().step_seconds());
}

// The time from the first attempt's start to the end, or to now.
std::string TimeText(const Job& job, double now) {
  if (!job.has_start_time()) return "-";
  return ShortDuration((job.has_end_time() ? Seconds(job.end_time()) : now) -
                       Seconds(job.start_time()));
}

// "-" for an empty cell, so that cut and awk count the same columns in each line.
std::vector<std::string> Row(const Job& job, double now, bool wide) {
  const std::string failure = FailureName(job.failure_reason());
  std::vector<std::string> row = {job.id(),
                                  job.name().empty() ? "-" : job.name(),
                                  StateName(job.state()),
                                  ModeName(job.spec().mode()),
                                  ModelName(job.spec()),
                                  StepText(job),
                                  job.has_last_step() ? Fixed(job.last_step().loss(), 4) : "-",
                                  EtaText(job),
                                  TimeText(job, now),
                                  ShortDuration(now - Seconds(job.create_time())),
                                  failure.empty() ? "-" : failure};
  if (!wide) return row;
  const std::string pending = PendingText(job.pending_reason());
  std::map<std::string, std::string> labels(job.labels().begin(), job.labels().end());
  row.push_back(job.owner().empty() ? "-" : job.owner());
  row.push_back(absl::StrCat(job.priority()));
  row.push_back(job.position() > 0 ? absl::StrCat(job.position()) : "-");
  row.push_back(labels.empty() ? "-" : absl::StrJoin(labels, ",", absl::PairFormatter("=")));
  row.push_back(!pending.empty() ? pending : job.message().empty() ? "-" : job.message());
  return row;
}

// Prints jobs as their pages come. Hints go to stderr: the list alone is on stdout.
class JobPrinter {
 public:
  explicit JobPrinter(const LsOptions& options)
      : options_(options), table_(Head(options)), list_(options.output) {}

  void Print(const google::protobuf::RepeatedPtrField<Job>& jobs) {
    shown_ += jobs.size();
    for (const Job& job : jobs) drained_ |= job.pending_reason() == Job::DRAINED;
    std::vector<std::vector<std::string>> rows;
    const double now = NowSeconds();
    for (const Job& job : jobs) {
      if (options_.quiet) {
        std::cout << job.id() << "\n";
      } else if (options_.ForPeople()) {
        rows.push_back(Row(job, now, options_.output == "wide"));
      } else {
        list_.Add(ToJson(job));
      }
    }
    if (options_.ForPeople()) std::cout << table_.Lines(std::move(rows));
    std::cout << std::flush;
  }

  // `left`: how many jobs there are beyond those shown; -1: some, an older ftd does not say.
  void End(int64_t left) {
    if (!options_.quiet && !options_.ForPeople()) list_.End();
    if (!options_.ForPeople()) return;
    if (drained_) std::cerr << "The queue is drained; `ftctl info` says by whom." << std::endl;
    if (left != 0) {
      std::cerr << (left > 0 ? absl::StrCat(left, " more") : "There are more")
                << "; `ftctl ls --all` lists them." << std::endl;
    } else if (shown_ == 0 && !options_.labels.empty()) {
      std::cerr << "No such job has " << absl::StrJoin(options_.labels, " and ") << "."
                << std::endl;
    } else if (shown_ == 0 && options_.states.empty()) {
      std::cerr << "No jobs. `ftctl submit` queues one." << std::endl;
    } else if (shown_ == 0) {
      std::cerr << "No job is " << absl::AsciiStrToUpper(absl::StrJoin(options_.states, " or "))
                << "." << std::endl;
    }
  }

 private:
  static std::vector<std::string> Head(const LsOptions& options) {
    std::vector<std::string> head = {"ID",   "NAME", "STATE", "MODE", "MODEL",  "STEP",
                                     "LOSS", "ETA",  "TIME",  "AGE",  "FAILURE"};
    if (options.output == "wide")
      head.insert(head.end(), {"OWNER", "PRIORITY", "POSITION", "LABELS", "MESSAGE"});
    return head;
  }

  const LsOptions& options_;
  GrowingTable table_;
  StructuredList list_;
  int64_t shown_ = 0;
  bool drained_ = false;
};

// Prints each page before the next is asked for. The server limits a page to 1000 jobs, and to what
// fits into a message.
absl::Status ListJobs(Connection& connection, const LsOptions& options) {
  FTD_ASSIGN_OR_RETURN(auto request, FirstPage(options));
  JobPrinter printer(options);
  const int64_t most = MostJobs(options);
  int64_t shown = 0, total = 0;
  while (true) {
    request.set_page_size(static_cast<int32_t>(std::min<int64_t>(most - shown, 1000)));
    FTD_ASSIGN_OR_RETURN(auto page, connection.Call(&ftd::v1::FineTuning::Stub::ListJobs, request));
    total = std::max<int64_t>(total, page.total_size());
    printer.Print(page.jobs());
    shown += page.jobs_size();
    request.set_page_token(page.next_page_token());
    if (shown < most && !request.page_token().empty()) continue;
    printer.End(request.page_token().empty() ? 0 : std::max<int64_t>(-1, total - shown));
    return absl::OkStatus();
  }
}

}  // namespace

int LsVerb(const Invocation& call) {
  LsOptions options;
  Flags flags(call, "ls", "List jobs, newest first.",
              "  ftctl ls\n  ftctl ls --all\n  ftctl ls --state RUNNING --state QUEUED\n  ftctl ls "
              "-o json | jq -r "
              "'.[].id'\n");
  flags.Repeated(
      "--state", "Only jobs in this state; may be given several times", &options.states,
      "QUEUED|HELD|PREPARING|RUNNING|PAUSING|PAUSED|CANCELLING|SUCCEEDED|FAILED|CANCELLED");
  flags.Repeated("--label", "Only jobs with this label; may be given several times",
                 &options.labels, "KEY=VALUE");
  flags.Int64("-n,--limit", "At most this many [50; all with -q, -o json or -o yaml]",
              [&](int64_t value) { options.limit = value; });
  flags.Switch("-a,--all", "All of them", &options.all);
  flags.Switch("-q,--quiet", "The ids alone", &options.quiet);
  flags.Choice("-o,--output", "Format [table]", {"table", "wide", "json", "yaml"}, &options.output);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const absl::Status listed = ListJobs(**connection, options);
  return listed.ok() ? kExitOk : Fail(listed);
}

}  // namespace ftd

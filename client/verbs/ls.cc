// ftctl ls: the queue and what became of it.
#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
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
  std::vector<std::string> states;
  int64_t limit = 0;  // 0: all
  bool quiet = false;
  std::string output = "table";
};

// Checks the states here, where the message can list them; ftd takes only known values.
absl::StatusOr<ftd::v1::ListJobsRequest> FirstPage(const LsOptions& options) {
  ftd::v1::ListJobsRequest request;
  request.set_page_size(1000);
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
  return request;
}

absl::StatusOr<std::vector<Job>> List(Connection& connection, const LsOptions& options) {
  FTD_ASSIGN_OR_RETURN(auto request, FirstPage(options));
  std::vector<Job> jobs;
  // The server limits a page to 1000 jobs; pages are fetched until there are enough.
  while (true) {
    const auto left = options.limit - static_cast<int64_t>(jobs.size());
    if (options.limit > 0)
      request.set_page_size(static_cast<int32_t>(std::min<int64_t>(left, 1000)));
    FTD_ASSIGN_OR_RETURN(auto page, connection.Call(&ftd::v1::FineTuning::Stub::ListJobs, request));
    for (Job& job : *page.mutable_jobs()) jobs.push_back(std::move(job));
    const bool enough = options.limit > 0 && static_cast<int64_t>(jobs.size()) >= options.limit;
    if (page.next_page_token().empty() || enough) return jobs;
    request.set_page_token(page.next_page_token());
  }
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

// The hint goes to stderr: the table alone is on stdout.
void PrintTable(const std::vector<Job>& jobs, const LsOptions& options) {
  const bool wide = options.output == "wide";
  std::vector<std::string> head = {"ID",   "NAME", "STATE", "MODE", "MODEL",  "STEP",
                                   "LOSS", "ETA",  "TIME",  "AGE",  "FAILURE"};
  if (wide) head.insert(head.end(), {"OWNER", "PRIORITY", "POSITION", "LABELS", "MESSAGE"});
  std::vector<std::vector<std::string>> rows;
  rows.reserve(jobs.size());
  const double now = NowSeconds();
  for (const Job& job : jobs) rows.push_back(Row(job, now, wide));
  std::cout << Table(head, rows) << std::flush;
  if (!jobs.empty()) return;
  if (options.states.empty()) {
    std::cerr << "No jobs. `ftctl submit` queues one." << std::endl;
  } else {
    std::cerr << "No job is " << absl::AsciiStrToUpper(absl::StrJoin(options.states, " or ")) << "."
              << std::endl;
  }
}

// JSON is always a list, also for one job.
void Print(const std::vector<Job>& jobs, const LsOptions& options) {
  if (options.quiet) {
    for (const Job& job : jobs) std::cout << job.id() << "\n";
    std::cout << std::flush;
  } else if (options.output == "table" || options.output == "wide") {
    PrintTable(jobs, options);
  } else {
    auto list = nlohmann::ordered_json::array();
    for (const Job& job : jobs) list.push_back(ToJson(job));
    PrintStructured(list, options.output);
  }
}

}  // namespace

int LsVerb(const Invocation& call) {
  LsOptions options;
  Flags flags(call, "ls", "List jobs, newest first.",
              "  ftctl ls\n  ftctl ls --state RUNNING --state QUEUED\n  ftctl ls -o json | jq -r "
              "'.[].id'\n");
  flags.Repeated(
      "--state", "Only jobs in this state; may be given several times", &options.states,
      "QUEUED|HELD|PREPARING|RUNNING|PAUSING|PAUSED|CANCELLING|SUCCEEDED|FAILED|CANCELLED");
  flags.Int64("-n,--limit", "At most this many [all]",
              [&](int64_t value) { options.limit = value; });
  flags.Switch("-q,--quiet", "The ids alone", &options.quiet);
  flags.Choice("-o,--output", "Format [table]", {"table", "wide", "json", "yaml"}, &options.output);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto jobs = List(**connection, options);
  if (!jobs.ok()) return Fail(jobs.status());
  Print(*jobs, options);
  return kExitOk;
}

}  // namespace ftd

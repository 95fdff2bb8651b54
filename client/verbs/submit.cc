// ftctl submit: queue a job.
#include <iostream>
#include <optional>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/submission.h"
#include "client/command/sweep.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/json_output.h"
#include "client/text/names.h"
#include "client/watch/data_report.h"
#include "client/watch/follow.h"
#include "client/watch/job_views.h"
#include "client/watch/terminal.h"
#include "lib/base/error.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

struct SubmitOptions {
  SubmitFlags submit;
  bool watch = false;
  bool quiet = false;
  bool validate_only = false;
  std::vector<std::string> sweep;
  std::string output;
};

constexpr const char* kSubmitExamples =
    "  ftctl submit --mode lora --model ./SmolLM2-135M-Instruct --dataset rows.jsonl --name first "
    "--watch\n"
    "  ftctl submit -f job.yaml --learning-rate 5e-5\n"
    "  ftctl show first -o yaml | ftctl submit -f - --name second\n"
    "  id=$(ftctl submit --quiet --mode full --model llama3.2-3b --dataset rows.jsonl) && ftctl "
    "wait $id\n"
    "  ftctl submit -f job.yaml --eval-split 0.1 --name lr --sweep learning_rate=1e-4,2e-4,5e-4 && "
    "ftctl sweep lr\n";

// On stderr, with the commands that follow: stdout has the id alone, for scripts.
void Announce(const ftd::v1::Job& job) {
  const std::string handle = JobHandle(job);
  std::cerr << "Submitted job " << JobTitle(job) << ": " << ModeName(job.spec().mode()) << " on "
            << ModelName(job.spec());
  if (job.position() > 0) std::cerr << ", position " << job.position();
  std::cerr << ".\n  ftctl watch " << handle << "      follow it\n  ftctl get " << handle
            << " DIR    take the result home once it has succeeded" << std::endl;
}

// Prints a job that was queued, or the outcome of a judgement alone.
int Print(const ftd::v1::Job& job, const SubmitOptions& options) {
  if (options.validate_only) {
    if (!options.quiet) std::cerr << "ftd would accept this job." << std::endl;
    if (!options.output.empty()) {
      PrintStructured(ToJson(job), options.output);
    } else if (job.has_data_report() && !options.quiet) {
      PrintDataReport(job.data_report());
    } else if (!options.quiet) {
      std::cerr
          << "Its rows were not all read within 20 seconds, or are not in the cache yet; `ftctl "
             "data check` reads them to the end."
          << std::endl;
    }
    return kExitOk;
  }
  if (!options.quiet) Announce(job);
  if (options.output.empty()) {
    std::cout << job.id() << std::endl;
  } else {
    PrintStructured(ToJson(job), options.output);
  }
  return kExitOk;
}

// Queues the jobs of a sweep one after the other. stdout has their ids, also when one is refused.
int SubmitSweep(Connection& connection, const std::vector<nlohmann::json>& specs,
                SubmitOptions& options) {
  const absl::Status brought = BringDataset(connection, &options.submit);
  if (!brought.ok()) return Fail(brought);
  const auto requests = SweepRequests(options.submit.request, specs);
  if (!requests.ok()) return Fail(requests.status());
  StructuredList list(options.output);
  size_t done = 0;
  absl::Status status;
  for (const auto& request : *requests) {
    const auto job = connection.Call(&ftd::v1::FineTuning::Stub::SubmitJob, request);
    status = job.status();
    if (!status.ok()) break;
    ++done;
    if (!options.output.empty()) {
      list.Add(ToJson(*job));
    } else if (!options.validate_only) {
      std::cout << job->id() << std::endl;
    }
  }
  if (!options.output.empty()) list.End();
  const std::string& name = requests->front().labels().at(kSweepLabel);
  if (!status.ok() && options.validate_only) {
    std::cerr << "ftd would not accept job " << done + 1 << " of " << requests->size() << "."
              << std::endl;
  } else if (!status.ok()) {
    std::cerr << done << " of " << requests->size() << " jobs of sweep " << name
              << " are queued; the same command with --name " << name << " --request-id "
              << options.submit.request.request_id() << " queues the others." << std::endl;
  } else if (!options.quiet) {
    std::cerr << (options.validate_only ? "ftd would accept these " : "Submitted ")
              << requests->size() << " jobs"
              << (options.validate_only
                      ? "."
                      : absl::StrCat(" as sweep ", name, ": ", name, "-1 to ", name, "-",
                                     requests->size(), ".\n  ftctl sweep ", name,
                                     "    compare them"))
              << std::endl;
  }
  return status.ok() ? kExitOk : Fail(status);
}

}  // namespace

int SubmitVerb(const Invocation& call) {
  SubmitOptions options;
  Flags flags(call, "submit", "Queue a fine-tuning job. Prints its id.", kSubmitExamples);
  AddSubmitFlags(flags, &options.submit);
  AddJobLinks(flags, &options.submit);
  flags.Switch("--watch", "Then run `ftctl watch`; the exit code is the job's outcome",
               &options.watch);
  flags.Switch("-q,--quiet", "The id alone, no talk", &options.quiet);
  flags.Repeated("--sweep",
                 "A job for each of the values, of numbers, words and switches; with several such "
                 "flags, for each combination. `ftctl sweep` compares them",
                 &options.sweep, "FIELD=VALUE,VALUE…");
  flags.Switch("--validate-only", "Judge the job and queue nothing", &options.validate_only);
  flags.Choice("-o,--output", "Print the job instead of its id", {"json", "yaml"}, &options.output);
  if (const auto code = flags.Parse()) return *code;
  options.submit.request.set_validate_only(options.validate_only);
  if (const absl::Status status = CompleteRequest(&options.submit); !status.ok())
    return Fail(status);
  if (options.watch && !options.sweep.empty())
    return Fail(Error(Reason::kUsage, "--watch follows one job; leave it out with --sweep"));
  const auto specs = ReadSweep(options.sweep);
  if (!specs.ok()) return Fail(specs.status());

  // Signals are blocked before gRPC starts its threads, which inherit the mask.
  const bool watch = options.watch && !options.validate_only;
  std::optional<Signals> signals;  // before gRPC starts threads
  if (watch) signals.emplace(FollowSignals(StdoutIsTerminal()));
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  if (!options.sweep.empty()) return SubmitSweep(**connection, *specs, options);
  const auto job = Submit(**connection, &options.submit);
  if (!job.ok()) return Fail(job.status());
  const int code = Print(*job, options);
  if (!watch) return code;
  return WatchToEnd(**connection, *job, *signals);
}

}  // namespace ftd

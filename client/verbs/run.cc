// ftctl run: submit, watch and get with an ftd of one's own.
#include <csignal>
#include <filesystem>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/submission.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/download.h"
#include "client/rpc/private_daemon.h"
#include "client/text/names.h"
#include "client/text/text.h"
#include "client/watch/follow.h"
#include "client/watch/job_views.h"
#include "client/watch/terminal.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

struct RunOptions {
  SubmitFlags submit;
  std::string output_dir;
  std::string state_dir;
};

constexpr const char* kExamples =
    "  ftctl run --mode lora --model ./SmolLM2-135M-Instruct --dataset rows.jsonl --output-dir "
    "./adapter\n";

// Cancels the job while its ftd still lives, and waits until the worker is gone.
void CancelAndWait(Connection& connection, const ftd::v1::Job& job, Signals& signals) {
  ftd::v1::CancelJobRequest request;
  request.set_job(job.id());
  if (!connection.Call(&ftd::v1::FineTuning::Stub::CancelJob, request).ok()) return;
  JobView silent;
  FollowJob(connection, job, silent, signals, std::chrono::seconds(15));
}

// The job cannot outlive its private ftd, so it is cancelled rather than left.
int Interrupted(Connection& connection, const FollowOutcome& outcome, const ftd::v1::Job& job,
                Signals& signals) {
  std::cerr << "Interrupted: cancelling the job, as its private ftd ends with this command."
            << std::endl;
  CancelAndWait(connection, job, signals);
  std::cerr << "Stopped; nothing was kept. For jobs that outlive their terminal, start ftd and use "
               "`ftctl submit`."
            << std::endl;
  return 128 + outcome.signal;
}

// Prints the end of the worker's log, which goes away with the private ftd.
void PrintLogTail(Connection& connection, const std::string& job) {
  ftd::v1::TailLogRequest request;
  request.set_job(job);
  request.set_lines(20);
  grpc::ClientContext context;
  auto reader = connection.stub().TailLog(&context, request);
  ftd::v1::TailLogResponse response;
  std::string log;
  while (reader->Read(&response)) log += response.data();
  if (reader->Finish().ok() && !log.empty())
    std::cerr << "The worker's last lines:\n" << PrintableLines(log);
  std::cerr << std::flush;
}

// After this the private ftd and all its files may go.
int TakeHome(Connection& connection, const ftd::v1::Job& job,
             const std::filesystem::path& directory) {
  if (const absl::Status status = DownloadResult(connection, job.id(), directory); !status.ok())
    return Fail(status);
  std::cerr << "The result is in " << directory.string() << std::endl;
  return kExitOk;
}

int Train(Connection& connection, RunOptions* options, Signals& signals) {
  const auto job = Submit(connection, &options->submit);
  if (!job.ok()) return Fail(job.status());
  auto view = MakeWatchView();
  const FollowOutcome outcome = FollowJob(connection, *job, *view, signals);
  // The view restores the terminal as it goes; what follows is for a plain one.
  view.reset();
  if (outcome.kind == FollowOutcome::kSignalled)
    return Interrupted(connection, outcome, *job, signals);
  if (outcome.kind != FollowOutcome::kFinal) return ReportOutcome(outcome);
  if (outcome.job.state() == ftd::v1::Job::SUCCEEDED)
    return TakeHome(connection, *job, options->output_dir);
  if (outcome.job.state() == ftd::v1::Job::FAILED) PrintLogTail(connection, job->id());
  return ReportOutcome(outcome);
}

// Fills in the place of the result, and judges it before anything is trained.
absl::Status ResolveOutputDirectory(RunOptions* options) {
  if (options->output_dir.empty()) {
    const std::string& name = options->submit.request.name();
    ftd::v1::JobSpec spec;
    spec.set_model(options->submit.given.json().value("model", std::string()));
    options->output_dir = absl::StrCat("./", name.empty() ? ModelName(spec) : name, "-result");
  }
  return CheckResultDirectory(options->output_dir);
}

}  // namespace

// Signals are blocked before anything has a thread, and the daemon starts before gRPC does.
int RunVerb(const Invocation& call) {
  RunOptions options;
  Flags flags(
      call, "run",
      "Fine-tune here and now: starts an ftd of its own, trains, brings the result home, leaves "
      "nothing\n"
      "else behind. Ctrl-C cancels the job. Exit code: 0 succeeded, 100 failed, 130 Ctrl-C.",
      kExamples);
  AddSubmitFlags(flags, &options.submit);
  flags.Text("--output-dir", "Where the result goes [./NAME-result, or the model's name]",
             &options.output_dir, "DIR");
  flags.Text("--state-dir",
             "Keep ftd's files (checkpoints, logs) in this directory [a temporary one]",
             &options.state_dir, "DIR");
  if (const auto code = flags.Parse()) return *code;
  if (const absl::Status status = ResolveOutputDirectory(&options); !status.ok())
    return Fail(status);

  std::signal(SIGPIPE, SIG_IGN);  // a reader that went away must not leave ftd and its files behind
  Signals signals = FollowSignals(StdoutIsTerminal());
  auto daemon = PrivateDaemon::Start(options.state_dir, signals);
  if (ReasonOf(daemon.status()) == Reason::kInterrupted) return kExitInterrupted;
  if (!daemon.ok()) return Fail(daemon.status());
  Connection connection((*daemon)->address());
  return Train(connection, &options, signals);
}

}  // namespace ftd

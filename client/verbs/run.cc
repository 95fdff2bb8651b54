// ftctl run: submit, watch and get with an ftd of one's own.
#include <poll.h>

#include <csignal>
#include <filesystem>
#include <functional>
#include <iostream>
#include <string>
#include <system_error>
#include <vector>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/submission.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/download.h"
#include "client/rpc/job_lookup.h"
#include "client/rpc/private_daemon.h"
#include "client/text/names.h"
#include "client/text/text.h"
#include "client/watch/follow.h"
#include "client/watch/job_views.h"
#include "client/watch/terminal.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using ftd::v1::FineTuning;
using ftd::v1::Job;

struct RunOptions {
  SubmitFlags submit;
  std::string output_dir;
  std::string state_dir;
  std::string resume;
};

constexpr const char* kRunExamples =
    "  ftctl run --mode lora --model ./SmolLM2-135M-Instruct --dataset rows.jsonl --output-dir "
    "./adapter\n"
    "  ftctl run --resume ~/.cache/ftd/run-Ab12Cd\n";

// A run and its parts.
struct Run {
  PrivateDaemon& daemon;
  Connection& connection;
  Signals& signals;
  std::string output_dir;
};

int64_t NewestCheckpoint(const Job& job) {
  return job.checkpoints().empty() ? 0 : job.checkpoints().rbegin()->step();
}

// What `run --resume` has to know of a run, in its state directory.
fs::path NoteIn(const PrivateDaemon& daemon) { return daemon.state_dir() / "ftctl-run.json"; }

// Written before training, so that a run that was killed can be continued as well.
absl::Status WriteNote(const Run& run) {
  std::error_code error;
  const nlohmann::json note = {{"output_dir", fs::absolute(run.output_dir, error).string()},
                               {"temporary", run.daemon.removes_state()}};
  return WriteFileAtomically(NoteIn(run.daemon), note.dump() + "\n");
}

// Keeps the state directory, and says how to continue.
void KeepForLater(Run& run) {
  run.daemon.set_removes_state(false);
  std::cerr << "Continue with:\n  ftctl run --resume " << run.daemon.state_dir().string()
            << std::endl;
}

// After this the private ftd and all its files may go; without it they are what is left of the run.
int TakeHome(Run& run, const Job& job) {
  if (const absl::Status status = DownloadResult(run.connection, job.id(), run.output_dir);
      !status.ok()) {
    const int code = Fail(status);
    KeepForLater(run);
    return code;
  }
  std::cerr << "The result is in " << run.output_dir << std::endl;
  return kExitOk;
}

// Waits until the job is PAUSED or has ended. False: another signal came first.
bool AwaitPause(Run& run, Job* job) {
  while (job->state() != Job::PAUSED && !IsFinal(job->state())) {
    pollfd input = {run.signals.fd(), POLLIN, 0};
    poll(&input, 1, 100);
    const int signal = run.signals.Take();
    if (signal != 0 && signal != SIGTSTP && signal != SIGWINCH) return false;
    auto now = FindJob(run.connection, job->id());
    if (!now.ok()) return false;
    *job = *std::move(now);
  }
  return true;
}

// The private ftd ends with this command, so the job is stopped with a checkpoint rather than left.
int Interrupted(Run& run, Job job, int signal) {
  std::cerr << "Interrupted: saving a checkpoint. Ctrl-C again ends at once, with what the last "
               "checkpoint holds."
            << std::endl;
  ftd::v1::PauseJobRequest request;
  request.set_job(job.id());
  // A job that waits for its turn cannot be paused, and has nothing to save.
  const bool pauses = run.connection.Call(&FineTuning::Stub::PauseJob, request).ok();
  const bool saved = pauses && AwaitPause(run, &job);
  if (job.state() == Job::SUCCEEDED) return TakeHome(run, job);
  if (auto now = FindJob(run.connection, job.id()); now.ok()) job = *std::move(now);
  const int64_t step = NewestCheckpoint(job);
  run.daemon.Stop(/*at_once=*/!saved);
  if (step == 0) {
    std::cerr << "Ended before the first checkpoint; nothing was kept." << std::endl;
  } else {
    std::cerr << "Ended; the checkpoint after step " << step << " is kept. ";
    KeepForLater(run);
  }
  return 128 + signal;
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

// Other failures have a message of the worker's own, which is the last line of its log.
bool LogMayTellMore(const Job& job) {
  const auto reason = job.failure_reason();
  return reason == ftd::v1::WORKER_CRASHED || reason == ftd::v1::WORKER_HUNG ||
         reason == ftd::v1::INTERNAL;
}

int Follow(Run& run, const Job& job) {
  if (const absl::Status noted = WriteNote(run); !noted.ok()) return Fail(noted);
  std::cerr << "Checkpoints and logs are in " << run.daemon.state_dir().string() << std::endl;
  auto view = MakeWatchView(run.connection, "Ctrl-C saves a checkpoint and ends");
  const FollowOutcome outcome = FollowJob(run.connection, job, *view, run.signals);
  // The view restores the terminal as it goes; what follows is for a plain one.
  view.reset();
  if (outcome.kind == FollowOutcome::kSignalled)
    return Interrupted(run, outcome.job, outcome.signal);
  if (outcome.kind != FollowOutcome::kFinal) {  // the private ftd is gone, its files are not
    const int code = ReportOutcome(outcome);
    KeepForLater(run);
    return code;
  }
  if (outcome.job.state() == Job::SUCCEEDED) return TakeHome(run, outcome.job);
  if (LogMayTellMore(outcome.job)) PrintLogTail(run.connection, job.id());
  return ReportOutcome(outcome, /*daemon_stays=*/false);
}

// Fills in the place of the result, and judges it before anything is trained.
absl::Status ResolveOutputDirectory(RunOptions* options) {
  if (options->output_dir.empty()) {
    const auto& request = options->submit.request;
    options->output_dir = absl::StrCat(
        "./", request.name().empty() ? ModelName(request.spec()) : request.name(), "-result");
  }
  return CheckResultDirectory(options->output_dir);
}

// Signals are blocked before anything has a thread, and the daemon starts before gRPC does.
int WithDaemon(const std::string& state_dir,
               const std::function<int(PrivateDaemon&, Connection&, Signals&)>& work) {
  std::signal(SIGPIPE, SIG_IGN);  // a reader that went away must not leave ftd and its files behind
  Signals signals = FollowSignals(StdoutIsTerminal());
  auto daemon = PrivateDaemon::Start(state_dir, signals);
  if (ReasonOf(daemon.status()) == Reason::kInterrupted) return kExitInterrupted;
  if (!daemon.ok()) return Fail(daemon.status());
  Connection connection((*daemon)->address());
  return work(**daemon, connection, signals);
}

// The job that a run left: the newest that has not ended, else the newest of all, whose result was
// not brought home.
absl::StatusOr<Job> FindLeftJob(Connection& connection) {
  ftd::v1::ListJobsRequest request;
  FTD_ASSIGN_OR_RETURN(const ftd::v1::ListJobsResponse jobs,
                       connection.Call(&FineTuning::Stub::ListJobs, request));
  for (const Job& job : jobs.jobs())
    if (!IsFinal(job.state())) return job;
  if (jobs.jobs().empty()) return Error(Reason::kJobNotFound, "no run was left there");
  return jobs.jobs(0);
}

int Continue(PrivateDaemon& daemon, Connection& connection, Signals& signals,
             const std::string& output_dir) {
  const std::string text = ReadFile(NoteIn(daemon)).value_or("");
  const nlohmann::json note = nlohmann::json::parse(text, nullptr, /*allow_exceptions=*/false);
  Run run{daemon, connection, signals, output_dir};
  if (note.is_object()) {
    daemon.set_removes_state(note.value("temporary", false));
    if (run.output_dir.empty()) run.output_dir = note.value("output_dir", std::string());
  }
  auto job = FindLeftJob(connection);
  if (job.ok() && run.output_dir.empty())
    run.output_dir = absl::StrCat("./", ModelName(job->spec()), "-result");
  absl::Status ready = job.ok() ? CheckResultDirectory(run.output_dir) : job.status();
  if (ready.ok() && job->state() == Job::PAUSED) {
    ftd::v1::ResumeJobRequest request;
    request.set_job(job->id());
    ready = connection.Call(&FineTuning::Stub::ResumeJob, request).status();
  }
  if (!ready.ok()) {
    daemon.set_removes_state(false);
    return Fail(ready);
  }
  return Follow(run, *job);
}

// `run --resume DIR`: the settings are those that the run was started with.
int ResumeRun(const Invocation& call) {
  std::string state_dir, output_dir;
  Flags flags(call, "run", "Continue a run that was left.", "  ftctl run --resume DIR\n");
  flags.Text("--resume", "The directory that the run named when it ended", &state_dir, "DIR");
  flags.Text("--output-dir", "Where the result goes [where the run was told to put it]",
             &output_dir, "DIR");
  if (const auto code = flags.Parse()) return *code;
  std::error_code error;
  if (!fs::exists(fs::path(state_dir) / "ftd.db", error)) {
    return Fail(Error(Reason::kJobNotFound,
                      absl::StrCat("there is no run in ", state_dir, ": it has no ftd.db")));
  }
  return WithDaemon(state_dir,
                    [&](PrivateDaemon& daemon, Connection& connection, Signals& signals) {
                      return Continue(daemon, connection, signals, output_dir);
                    });
}

bool AsksToResume(const std::vector<std::string>& args) {
  return absl::c_any_of(args, [](const std::string& arg) {
    return arg == "--resume" || absl::StartsWith(arg, "--resume=");
  });
}

}  // namespace

int RunVerb(const Invocation& call) {
  if (AsksToResume(call.args)) return ResumeRun(call);
  RunOptions options;
  Flags flags(
      call, "run",
      "Fine-tune here and now: starts an ftd of its own, trains, brings the result home, leaves "
      "nothing\n"
      "else behind. Ctrl-C saves a checkpoint and prints the command that continues. Exit code: 0 "
      "succeeded,\n100 failed, 130 Ctrl-C.",
      kRunExamples);
  AddSubmitFlags(flags, &options.submit);
  flags.Text("--resume",
             "Continue the run that was left in this directory; with --output-dir alone",
             &options.resume, "DIR");
  flags.Text("--output-dir", "Where the result goes [./NAME-result, or the model's name]",
             &options.output_dir, "DIR");
  flags.Text("--state-dir",
             "Keep ftd's files (checkpoints, logs) in this directory [a temporary one]",
             &options.state_dir, "DIR");
  if (const auto code = flags.Parse()) return *code;
  absl::Status status = CompleteRequest(&options.submit);
  if (status.ok()) status = ResolveOutputDirectory(&options);
  if (!status.ok()) return Fail(status);
  return WithDaemon(options.state_dir,
                    [&](PrivateDaemon& daemon, Connection& connection, Signals& signals) {
                      const auto job = Submit(connection, &options.submit);
                      if (!job.ok()) return Fail(job.status());
                      Run run{daemon, connection, signals, options.output_dir};
                      return Follow(run, *job);
                    });
}

}  // namespace ftd

// A worker that trains nothing: it obeys proto/ftd/v1/worker.proto and does what FTD_FAKE_WORKER
// says, so that tests can have every fault at the moment they want it.
//
// FTD_FAKE_WORKER is a list of words, each either for every attempt or, as N:word, for attempt N
// alone (an export goes by its type instead, see ExportResult):
//   - steps=K: take K optimizer steps (default 5)
//   - step_ms=M: each lasting M ms (default 1)
//   - prepare_ms=M: spend M ms before the first step
//   - save=K: write a checkpoint every K steps
//   - crash=K: abort after recording step K
//   - exit=K: exit 0 after recording step K
//   - result_ms=M: spend M ms on the result
//   - crash_result=1: abort instead of making the result
//   - hang=K: stand still after step K, deaf to all but SIGKILL
//   - deaf=1: ignore Stop and SIGTERM, but go on training
//   - fail=K: end with LOSS_DIVERGED after step K
//   - disk=K: end with DISK_FULL after step K
//   - warn=K: warn at step K
//   - bytes=K: after step K report a warning, the rows and a failure in texts that are not UTF-8
//   - garbage=K: append junk to events.log after step K
//   - torn=K: append half a record after step K
//   - noresult=1: report success and leave no result
//   - silent=1: leave a result and report nothing
//   - corrupt=1: damage each checkpoint after sealing it
//   - nosock=1: open no control socket
//   - rows_ms=M: spend M ms on a look at the rows
//   - rows_bad=1: and find a bad one
//   - rows_crash=1: or abort
//   - child=1: start a child in the same process group that sleeps
//   - daemon=1: start one that leaves the group and holds the lock
//   - loose=1: start one that leaves the group and lets the lock go
#include <fcntl.h>
#include <poll.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>
#include <csignal>

#include <chrono>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <thread>
#include <vector>

#include <google/protobuf/util/json_util.h>
#include <google/protobuf/util/time_util.h>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/file.h"
#include "lib/base/manifest.h"
#include "lib/runlog/record_log.h"
#include "lib/runlog/step_log.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using google::protobuf::util::TimeUtil;
using Script = std::map<std::string, int64_t>;

int64_t NowMicros() {
  return std::chrono::duration_cast<std::chrono::microseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

[[noreturn]] void Die(const std::string& what) {
  std::fprintf(stderr, "fake worker: %s\n", what.c_str());
  _exit(3);
}

void Must(const absl::Status& status) {
  if (!status.ok()) Die(std::string(status.message()));
}

template <typename T>
T Must(absl::StatusOr<T> value) {
  Must(value.status());
  return *std::move(value);
}

Script ReadScript(int32_t attempt) {
  const char* text = std::getenv("FTD_FAKE_WORKER");
  Script script = {{"steps", 5}, {"step_ms", 1}};
  const std::vector<std::string> words =
      absl::StrSplit(text == nullptr ? "" : text, ' ', absl::SkipEmpty());
  for (std::string word : words) {
    if (const size_t colon = word.find(':'); colon != std::string::npos) {
      if (std::to_string(attempt) != word.substr(0, colon)) continue;
      word = word.substr(colon + 1);
    }
    const std::vector<std::string> parts = absl::StrSplit(word, '=');
    int64_t value = 0;
    if (parts.size() != 2 || !absl::SimpleAtoi(parts[1], &value))
      Die("bad word in FTD_FAKE_WORKER: " + word);
    script[parts[0]] = value;
  }
  return script;
}

volatile sig_atomic_t terminated = 0;

class FakeWorker {
 public:
  FakeWorker(fs::path dir, v1::AttemptRequest request)
      : dir_(std::move(dir)),
        request_(std::move(request)),
        script_(ReadScript(request_.attempt())),
        events_(Must(RecordLogWriter::Create(dir_ / "events.log"))) {}

  int Run() {
    if (!Flag("nosock")) OpenSocket();
    if (Flag("deaf")) signal(SIGTERM, SIG_IGN);
    if (Flag("child") && fork() == 0) {
      while (true) pause();
    }
    if ((Flag("daemon") || Flag("loose")) && fork() == 0) {
      setsid();
      if (Flag("loose")) closefrom(0);
      execlp("sleep", "sleep", "infinity", nullptr);
      _exit(1);
    }
    if (request_.has_row_check()) return CheckRows();
    if (request_.has_result_export()) return ExportResult();
    TakeDevice();
    const int64_t from =
        request_.resume_from().empty() ? 0 : CheckpointStep(request_.resume_from());
    v1::WorkerEvent started;
    started.mutable_started()->set_pid(getpid());
    started.mutable_started()->set_device("fake");
    started.mutable_started()->set_first_step(from + 1);
    Write(started);
    std::printf("attempt %d from step %ld\n", request_.attempt(), static_cast<long>(from));
    std::fflush(stdout);
    Report(v1::Progress::TOKENIZE);
    if (Wait(script_["prepare_ms"])) return Stopped(from);
    steps_.emplace(Must(StepLogWriter::Create(dir_ / "steps.log", from + 1, script_["steps"])));
    Report(v1::Progress::TRAIN);
    if (request_.finish() && from == 0) {
      Finish(v1::WorkerEvent::End::FAILED, 0, v1::CHECKPOINT_CORRUPT, "no checkpoint");
      return 1;
    }
    if (request_.finish()) return Succeed(from);
    for (int64_t step = from + 1; step <= script_["steps"]; ++step) {
      if (Wait(script_["step_ms"])) return finish_ ? Succeed(step - 1) : Stopped(step - 1);
      TakeStep(step);
    }
    return Succeed(script_["steps"]);
  }

 private:
  int CheckRows() {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != request_.row_check().daemon_pid()) return 1;
    Wait(script_["rows_ms"]);
    if (Flag("rows_crash")) std::abort();
    if (!Flag("rows_bad")) {
      v1::WorkerEvent report;
      report.mutable_data_report()->set_rows_kept(7);
      Write(report);
      return Finish(v1::WorkerEvent::End::SUCCEEDED, 0), 0;
    }
    Finish(v1::WorkerEvent::End::FAILED, 0, v1::DATASET_INVALID, "rows.jsonl line 7: not JSON");
    return 1;
  }
  // The type asked for says what happens: q4_0 fails, q5_0 aborts half-way, q8_0 waits for a file
  // `go` beside its directory. The file `run` tells two runs apart.
  int ExportResult() {
    const auto& asked = request_.result_export();
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != asked.daemon_pid()) return 1;
    const fs::path made = dir_ / ".tmp-export";
    fs::create_directory(made);
    const std::string kind = asked.adapter_only() ? "adapter.gguf" : "model.gguf";
    std::ofstream(made / (asked.gguf_type().empty() ? "model.safetensors" : kind))
        << "form of " << request_.model_dir() << " " << asked.adapter_dir();
    std::ofstream(made / "run") << getpid();
    v1::WorkerEvent event;
    event.mutable_progress()->set_phase(v1::Progress::EXPORT);
    event.mutable_progress()->set_done(5);
    event.mutable_progress()->set_total(10);
    Write(event);
    if (asked.gguf_type() == "q5_0") std::abort();
    if (asked.gguf_type() == "q4_0") {
      Finish(v1::WorkerEvent::End::FAILED, 0, v1::DISK_FULL, "the export needs 9 GB");
      return 1;
    }
    while (asked.gguf_type() == "q8_0" && !fs::exists(dir_.parent_path() / "go")) Wait(10);
    if (kind == "model.gguf" && !asked.gguf_type().empty())
      std::ofstream(made / "model.Modelfile") << "FROM ./model.gguf\nPARAMETER stop x\n";
    fs::rename(made, dir_ / "export");
    return Finish(v1::WorkerEvent::End::SUCCEEDED, 0), 0;
  }
  bool Flag(const char* name) const { return script_.count(name) > 0; }
  bool At(const char* name, int64_t step) const {
    const auto found = script_.find(name);
    return found != script_.end() && found->second == step;
  }

  void Write(v1::WorkerEvent event, bool sync = false) {
    const int64_t now = NowMicros();
    event.mutable_time()->set_seconds(now / 1000000);
    event.mutable_time()->set_nanos(static_cast<int32_t>(now % 1000000) * 1000);
    Must(events_.Append(event.SerializeAsString(), sync));
  }

  void Report(v1::Progress::Phase phase) {
    v1::WorkerEvent event;
    event.mutable_progress()->set_phase(phase);
    event.mutable_progress()->set_steps_planned(script_["steps"]);
    Write(event);
  }

  void OpenSocket() {
    const Fd directory = Must(OpenFile(dir_, O_PATH | O_DIRECTORY));
    socket_ = Fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    std::snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control.sock",
                  directory.get());
    if (bind(socket_.get(), reinterpret_cast<sockaddr*>(&address), sizeof(address)) != 0 ||
        listen(socket_.get(), 8) != 0) {
      Die("no control socket");
    }
  }

  // True when the worker is to stop.
  bool Wait(int64_t ms) {
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    while (true) {
      const auto left = deadline - std::chrono::steady_clock::now();
      const auto left_ms = std::chrono::duration_cast<std::chrono::milliseconds>(left).count();
      pollfd polled{.fd = connection_.valid() ? connection_.get() : socket_.get(),
                    .events = POLLIN};
      // SIGTERM is blocked but in here: none can come between the look at `terminated` and the
      // sleep.
      const timespec timeout{.tv_sec = std::max<int64_t>(0, left_ms) / 1000,
                             .tv_nsec = std::max<int64_t>(0, left_ms) % 1000 * 1000000};
      sigset_t none;
      sigemptyset(&none);
      const int ready = ppoll(&polled, 1, &timeout, &none);
      if (terminated != 0) save_ = true;
      if (ready > 0) Hear();
      if (!Flag("deaf") && (terminated != 0 || stop_)) return true;
      if (left_ms <= 0) return false;
    }
  }

  void Hear() {
    if (!connection_.valid()) {
      connection_ = Fd(accept4(socket_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      return;
    }
    char buffer[4096];
    const ssize_t size = recv(connection_.get(), buffer, sizeof(buffer), 0);
    if (size <= 0) return connection_.Reset();
    v1::ControlRequest request;
    if (!request.ParseFromArray(buffer, static_cast<int>(size)) || !request.has_stop()) return;
    stop_ = true;
    save_ = request.stop().save();
    finish_ = request.stop().finish();
    v1::ControlReply reply;
    reply.set_ok(true);
    const std::string packet = reply.SerializeAsString();
    send(connection_.get(), packet.data(), packet.size(), MSG_NOSIGNAL);
  }

  void TakeStep(int64_t step) {
    tokens_ += 100;
    v1::StepMetrics metrics;
    metrics.set_step(step);
    metrics.set_epoch(static_cast<double>(step) / 10);
    metrics.set_loss(4.0 / std::sqrt(static_cast<double>(step)));
    metrics.set_grad_norm(1.5);
    metrics.set_learning_rate(1e-4);
    metrics.set_tokens(100);
    metrics.set_tokens_total(step * 100);
    metrics.set_padding_ratio(0.25);
    metrics.set_tokens_per_second(1000);
    metrics.set_step_seconds(static_cast<double>(script_["step_ms"]) / 1000);
    metrics.set_data_wait_seconds(0.001);
    metrics.set_samples(8);
    *metrics.mutable_time() = TimeUtil::MicrosecondsToTimestamp(NowMicros());
    Must(steps_->Append(metrics));
    steps_->Beat();
    if (Flag("save") && step % script_["save"] == 0) Save(step);
    Misbehave(step);
  }

  void Misbehave(int64_t step) {
    if (At("warn", step)) {
      v1::WorkerEvent event;
      event.mutable_warning()->set_message(absl::StrCat("warning at step ", step));
      Write(event);
    }
    if (At("bytes", step)) FailInForeignBytes(step);
    if (At("garbage", step)) Junk(std::string(64, '\xee'));
    if (At("torn", step)) Junk(std::string("\x40\x00\x00\x00\x01\x02", 6));
    if (At("fail", step)) {
      Finish(v1::WorkerEvent::End::FAILED, step, v1::LOSS_DIVERGED,
             "the loss became NaN at the fake's bidding", "lower learning_rate");
      _exit(1);
    }
    if (At("disk", step)) {
      Finish(v1::WorkerEvent::End::FAILED, step, v1::DISK_FULL, "write x: No space left on device",
             "free some space");
      _exit(1);
    }
    if (At("crash", step)) {
      std::fprintf(stderr, "fake worker: aborting at step %ld\n", static_cast<long>(step));
      abort();
    }
    if (At("exit", step)) _exit(0);
    if (At("hang", step)) {
      signal(SIGTERM, SIG_IGN);
      while (true) pause();
    }
  }

  [[noreturn]] void FailInForeignBytes(int64_t step) {
    v1::WorkerEvent warning, rows;
    warning.mutable_warning()->set_message("caf\xE9 \x1B[31m");
    Write(warning);
    rows.mutable_data_report()->set_rows_kept(7);
    rows.mutable_data_report()->add_samples()->add_parts()->set_text("\xFF row");
    Write(rows);
    Finish(v1::WorkerEvent::End::FAILED, step, v1::DATASET_INVALID, "line \x80 is bad\x1B[2J",
           std::string("mend it\0\xC3", 9));
    _exit(1);
  }

  // Another worker that has the device at this moment is told by a file beside its lock.
  void TakeDevice() {
    const int lock = open(request_.device_lock().c_str(), O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock >= 0 && flock(lock, LOCK_EX | LOCK_NB) != 0)
      std::ofstream(request_.device_lock() + ".contended") << dir_;
  }

  void Junk(const std::string& bytes) {
    std::ofstream(dir_ / "events.log", std::ios::app | std::ios::binary) << bytes;
  }

  void Save(int64_t step) {
    Report(v1::Progress::CHECKPOINT);
    Must(steps_->Sync());
    const fs::path temporary = dir_ / absl::StrCat(".tmp-checkpoint-", step);
    const fs::path final_dir = dir_ / absl::StrCat("checkpoint-", step);
    fs::create_directory(temporary);
    const char* weights = request_.spec().mode() == v1::JobSpec::FULL ? "model.safetensors"
                                                                      : "adapter_model.safetensors";
    std::ofstream(temporary / weights) << "weights after step " << step;
    Must(SealDirectory(temporary, final_dir, {.step = step}));
    if (Flag("corrupt")) std::ofstream(final_dir / weights) << "not what was sealed";
    v1::WorkerEvent event;
    event.mutable_checkpoint()->set_step(step);
    event.mutable_checkpoint()->set_path(final_dir);
    event.mutable_checkpoint()->set_attempt(request_.attempt());
    Write(event, /*sync=*/true);
  }

  void Finish(v1::WorkerEvent::End::Outcome outcome, int64_t step, v1::FailureReason reason = {},
              const std::string& message = "", const std::string& hint = "") {
    v1::WorkerEvent event;
    event.mutable_end()->set_outcome(outcome);
    event.mutable_end()->set_last_step(step);
    event.mutable_end()->set_failure_reason(reason);
    event.mutable_end()->set_message(message);
    event.mutable_end()->set_hint(hint);
    Write(event, /*sync=*/true);
  }

  int Stopped(int64_t step) {
    if (save_ && step > 0 && steps_.has_value() &&
        !fs::exists(dir_ / absl::StrCat("checkpoint-", step)))
      Save(step);
    Finish(v1::WorkerEvent::End::STOPPED, step);
    return 0;
  }

  // As ft-worker does: what has its name is whole, and on disk.
  void WriteResult(int64_t step) {
    Must(steps_->Sync());
    const ScratchDir scratch = Must(ScratchDir::Create(dir_ / ".tmp-result"));
    fs::create_directory(scratch.path() / "sub");
    const auto write = [&](const char* name, const std::string& bytes) {
      Must(WriteFileAtomically(scratch.path() / name, bytes));
    };
    write("adapter_model.safetensors", std::string(3 << 20, 'w'));
    write("sub/empty", "");
    write("adapter_config.json",
          absl::StrCat(R"({"job": ")", request_.job_id(), R"(", "step": )", step, "}\n"));
    Must(SyncPath(scratch.path()));
    Must(RenameDurably(scratch.path(), dir_ / "result"));
  }

  int Succeed(int64_t step) {
    if (Flag("crash_result")) abort();
    stop_ = finish_ = false;
    if (Wait(script_["result_ms"]) && !finish_) return Stopped(step);
    if (!Flag("noresult")) WriteResult(step);
    if (!Flag("silent")) Finish(v1::WorkerEvent::End::SUCCEEDED, step);
    return 0;
  }

  const fs::path dir_;
  const v1::AttemptRequest request_;
  Script script_;
  RecordLogWriter events_;
  std::optional<StepLogWriter> steps_;
  Fd socket_, connection_;
  bool stop_ = false, save_ = false, finish_ = false;
  int64_t tokens_ = 0;
};

}  // namespace
}  // namespace ftd

int main(int argc, char** argv) {
  // attempt --dir DIR --lock-fd 3 --token-fd 4
  if (argc != 8 || std::string(argv[1]) != "attempt" || std::string(argv[5]) != "3")
    ftd::Die("bad arguments");
  if (fcntl(3, F_GETFD) < 0) ftd::Die("descriptor 3, the lock, is not open");
  struct sigaction action {};
  action.sa_handler = [](int) { ftd::terminated = 1; };
  sigaction(SIGTERM, &action, nullptr);
  sigset_t blocked;
  sigemptyset(&blocked);
  sigaddset(&blocked, SIGTERM);
  sigprocmask(SIG_BLOCK, &blocked, nullptr);
  const std::filesystem::path dir = argv[3];
  ftd::v1::AttemptRequest request;
  const auto parsed = google::protobuf::util::JsonStringToMessage(
      ftd::Must(ftd::ReadFile(dir / "request.json")), &request);
  if (!parsed.ok()) ftd::Die("request.json: " + parsed.ToString());
  return ftd::FakeWorker(dir, request).Run();
}

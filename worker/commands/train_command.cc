#include "worker/commands/train_command.h"

#include <unistd.h>

#include <cstdio>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/device_lock.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/hub/transport/settings.h"
#include "worker/commands/train_console.h"
#include "worker/commands/train_output.h"
#include "worker/commands/train_sources.h"
#include "worker/engine/train.h"
#include "worker/run/attempt_request.h"
#include "worker/run/control_server.h"
#include "worker/run/training_run.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
// Returns a directory that no other run has, so that a second run never overwrites a model.
fs::path DefaultOutput(const TrainOptions& options) {
  const std::string model = options.given.json().value("model", std::string("model"));
  const std::string name =
      options.preset.empty() ? fs::path(model).filename().string() : options.preset;
  return fs::path("outputs") /
         absl::StrCat(name, "-",
                      absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::LocalTimeZone()), "-",
                      ::getpid());
}

absl::StatusOr<TrainOutput> OpenOutput(const TrainOptions& options, fs::path& dir) {
  std::error_code error;
  const std::string here = fs::current_path(error).string();
  if (!IsValidUtf8(here)) {
    return Error(Reason::kUsage,
                 absl::StrCat("the working directory's path is not UTF-8: ",
                              EscapeInvalidUtf8(here), "; start ft-train in another one"));
  }
  dir = options.output_dir;
  // Settings come from the run's own request; others would make it another run.
  if (!options.resume.empty()) {
    if (!options.given.empty() || !options.dataset.empty() || !options.preset.empty() ||
        !options.log_dir.empty()) {
      return Error(Reason::kUsage,
                   "a run continues with the settings that it was started with; give --resume with "
                   "nothing but --output_dir");
    }
    if (dir.empty() && options.resume != "latest")
      dir = fs::absolute(options.resume).lexically_normal().parent_path();
    if (dir.empty()) {
      return Error(Reason::kUsage, "--resume latest needs the run's --output_dir");
    }
    return TrainOutput::Resume(dir = fs::absolute(dir), options.resume);
  }
  // Made of the time and the process: two runs of one second are kept apart.
  if (dir.empty()) dir = DefaultOutput(options);
  dir = fs::absolute(dir);
  FTD_ASSIGN_OR_RETURN(const std::string spec, GivenSpecJson(options));
  const bool gpu = engine::UsesGpu();
  FTD_ASSIGN_OR_RETURN(v1::AttemptRequest request,
                       FindTrainSources(spec, gpu ? Dtype::kBfloat16 : Dtype::kFloat32));
  request.set_job_name(dir.filename().string());
  request.set_token_cache_dir((dir / ".ftd" / "tokens").string());
  if (!options.log_dir.empty()) request.set_log_dir(fs::absolute(options.log_dir).string());
  return TrainOutput::Begin(dir, request);
}

// A complete result is published here, or by --resume if the process was killed before.
int Finish(const v1::WorkerEvent::End& end, const TrainConsole& console, const TrainOutput& output,
           const std::string& resume_command) {
  if (end.outcome() == v1::WorkerEvent::End::STOPPED) {
    std::fprintf(stderr, "stopped after step %lld; continue with\n  %s\n",
                 static_cast<long long>(end.last_step()), resume_command.c_str());
    return 130;
  }
  std::string message = end.message();
  if (end.outcome() == v1::WorkerEvent::End::SUCCEEDED) {
    const absl::Status published = output.Publish();
    if (published.ok()) {
      console.PrintStatistics();
      if (!message.empty()) std::fprintf(stderr, "%s\n", message.c_str());
      return 0;
    }
    message = std::string(published.message());
  }
  std::fprintf(stderr, "\nft-train: %s\n", message.c_str());
  if (!end.hint().empty()) std::fprintf(stderr, "hint: %s\n", end.hint().c_str());
  return 1;
}

// One start of a run, in `*dir` afterwards. `device_locked`: by an earlier start in this process,
// which holds the lock to its end. Returns whether it went back and is to be started again.
absl::StatusOr<bool> TrainOnce(const TrainOptions& options, bool device_locked,
                               fs::path* output_dir, int* exit_status) {
  fs::path& dir = *output_dir;
  FTD_ASSIGN_OR_RETURN(const TrainOutput output, OpenOutput(options, dir));
  *exit_status = 0;
  if (output.finished()) {
    std::fprintf(stderr, "the run in %s is complete\n", dir.c_str());
    return false;
  }
  const std::string resume_command =
      absl::StrCat("ft-train --resume latest --output_dir ", dir.string());
  FTD_ASSIGN_OR_RETURN(TrainSpec spec, SpecOf(output.request()));
  StopFlags flags;
  FTD_ASSIGN_OR_RETURN(const auto ear,
                       ControlServer::Start(dir / ".ftd", &flags, [] { ::_exit(1); }));
  // The following belong to the machine and not to the run, so each start has its own.
  v1::AttemptRequest request = output.request();
  // The same file that the daemon's workers lock.
  request.set_device_lock(engine::UsesGpu() && !device_locked ? GpuLockFile().string() : "");
  request.set_peak_tflops(options.peak_tflops);
  request.set_host_memory_reserve_bytes(
      options.host_memory_reserve_mib < 0 ? -1 : options.host_memory_reserve_mib << 20);
  const RunPlaces places = output.Places();
  TrainConsole console(spec, engine::DeviceName(), dir.string(), places.tensorboard.string());
  const RunOrder order{.request = std::move(request),
                       .spec = spec,
                       .places = places,
                       .hub_token = hub::FindToken(hub::SettingsFromEnvironment()),
                       .end_now = [&](const v1::WorkerEvent::End& end) {
                         // Called on the guard's thread, when memory is nearly exhausted.
                         ::_exit(Finish(end, console, output, resume_command));
                       }};
  const v1::WorkerEvent::End end = RunTraining(order, console, flags);
  if (end.outcome() == v1::WorkerEvent::End::ROLLED_BACK) {
    std::fprintf(stderr, "\n%s; going back, at half the learning rate\n", end.message().c_str());
    FTD_RETURN_IF_ERROR(output.RollBack());
    return true;
  }
  *exit_status = Finish(end, console, output, resume_command);
  return false;
}

}  // namespace

absl::Status Train(const TrainOptions& options, int* exit_status) {
  engine::InitializeProcess();
  fs::path dir;
  FTD_ASSIGN_OR_RETURN(bool again, TrainOnce(options, /*device_locked=*/false, &dir, exit_status));
  while (again) {
    TrainOptions resumed;
    resumed.resume = "latest";
    resumed.output_dir = dir.string();
    resumed.peak_tflops = options.peak_tflops;
    resumed.host_memory_reserve_mib = options.host_memory_reserve_mib;
    FTD_ASSIGN_OR_RETURN(again, TrainOnce(resumed, /*device_locked=*/true, &dir, exit_status));
  }
  return absl::OkStatus();
}

}  // namespace ftd

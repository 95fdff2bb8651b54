#include "worker/run/generation_work.h"

#include <chrono>
#include <memory>
#include <utility>

#include "lib/base/contained_file.h"
#include "lib/base/device_lock.h"
#include "lib/base/error.h"
#include "worker/run/failure.h"
#include "worker/run/generation.h"
#include "worker/run/generation_server.h"
#include "worker/run/side_work.h"

namespace ftd {
namespace {

constexpr char kSocket[] = "generation.sock";
// Somebody waits for the answer, so it has a third of the time of a job's worker on a busy CPU.
constexpr int kNiceness = 5;

// Loads the model where it was asked for, else on the CPU: another program may have taken the GPU,
// or its memory.
absl::StatusOr<std::unique_ptr<Generation>> Load(engine::GeneratorOptions options) {
  auto loaded = Generation::Load(options);
  if (options.on_cpu || ReasonOf(loaded.status()) != Reason::kHostMemoryGuard) return loaded;
  options.on_cpu = true;
  return Generation::Load(options);
}

absl::Status Run(const v1::AttemptRequest& request, const TrainSpec& spec,
                 const std::filesystem::path& dir) {
  const v1::AttemptRequest::Generation& asked = request.generation();
  FTD_RETURN_IF_ERROR(BecomeSideWorker(asked.daemon_pid(), kNiceness));
  FTD_ASSIGN_OR_RETURN(const auto server, GenerationServer::Start(dir / kSocket));
  engine::GeneratorOptions options{.model_dir = WithoutLinks(request.model_dir()),
                                   .adapter_dir = {},
                                   .dtype = spec.dtype,
                                   .nf4 = spec.mode == Mode::kQlora,
                                   .on_cpu = asked.on_cpu()};
  if (!asked.adapter_dir().empty()) options.adapter_dir = WithoutLinks(asked.adapter_dir());
  Fd device_lock;  // as long as it has the GPU
  if (!options.on_cpu) {
    auto taken = TryLockFile(request.device_lock());
    options.on_cpu = !taken.ok();
    if (taken.ok()) device_lock = *std::move(taken);
  }
  FTD_ASSIGN_OR_RETURN(const auto generation, Load(options));
  if (generation->device() == "cpu") device_lock.Reset();
  return server->Serve(*generation, std::chrono::seconds(asked.idle_seconds()));
}

}  // namespace

v1::WorkerEvent::End GenerateForDaemon(const v1::AttemptRequest& request, const TrainSpec& spec,
                                       const std::filesystem::path& dir) {
  if (const absl::Status status = Run(request, spec, dir); !status.ok())
    return FailureOf(status, {});
  v1::WorkerEvent::End end;
  end.set_outcome(v1::WorkerEvent::End::SUCCEEDED);
  return end;
}

}  // namespace ftd

#include "worker/run/job_plan.h"

#include "lib/base/device_lock.h"
#include "lib/base/error.h"
#include "lib/plan/disk_plan.h"
#include "lib/plan/fit.h"
#include "lib/plan/memory_plan.h"
#include "lib/plan/work_plan.h"

namespace ftd {
namespace {

v1::JobPlan::Memory MemoryOf(const ModelConfig& config, const TrainSpec& spec,
                             const BatchShape& largest, bool on_gpu) {
  const MemoryPlan recomputed = PlanMemory(config, spec, on_gpu, largest, config.num_hidden_layers);
  const MemoryPlan kept = spec.gradient_checkpointing == Checkpointing::kOn
                              ? recomputed
                              : PlanMemory(config, spec, on_gpu, largest, 0);
  v1::JobPlan::Memory memory;
  memory.set_on_gpu(on_gpu);
  memory.set_weights_bytes(kept.weights + kept.scratch);
  memory.set_adapters_bytes(kept.adapters);
  memory.set_masters_bytes(kept.masters);
  memory.set_gradients_bytes(kept.gradients);
  memory.set_optimizer_bytes(kept.optimizer);
  memory.set_step_bytes(kept.step);
  memory.set_step_recomputed_bytes(recomputed.step);
  memory.set_step_least_bytes(LeastMemory(config, spec, on_gpu, largest.longest).step);
  memory.set_libraries_bytes(kept.libraries);
  return memory;
}

v1::JobPlan::Disk DiskOf(const DiskPlan& plan) {
  v1::JobPlan::Disk disk;
  disk.set_checkpoint_bytes(plan.checkpoint);
  disk.set_checkpoints(static_cast<int32_t>(plan.kept));
  disk.set_result_bytes(plan.result);
  return disk;
}

}  // namespace

absl::StatusOr<v1::JobPlan> MakeJobPlan(const ModelConfig& config, const TrainSpec& spec,
                                        const RowSource& rows, const RowSource* eval,
                                        int64_t device_memory) {
  FTD_ASSIGN_OR_RETURN(const WorkPlan work, PlanWork(config, spec, rows, eval));
  v1::JobPlan plan;
  plan.set_steps(work.steps);
  plan.set_rows(work.rows);
  plan.set_tokens(work.tokens);
  plan.set_tokens_learned(work.labels);
  plan.set_model_flops(work.flops);
  plan.set_evaluation_flops(work.evaluation_flops);
  *plan.mutable_disk() = DiskOf(PlanDisk(config, spec));
  const bool on_gpu = !GpuLockFile().empty();
  *plan.mutable_memory() = MemoryOf(config, spec, work.largest, on_gpu);
  const absl::Status fits =
      CheckFits(config, spec, {.on_gpu = on_gpu, .bytes = device_memory}, work.largest.longest);
  plan.set_does_not_fit(std::string(fits.message()));
  return plan;
}

}  // namespace ftd

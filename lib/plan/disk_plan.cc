#include "lib/plan/disk_plan.h"

#include "lib/model/architecture.h"
#include "lib/plan/step_shape.h"

namespace ftd {
namespace {

constexpr int64_t kFloat32Bytes = 4;
constexpr int64_t kMergedBytes = 2;  // nearly all models are published in 16 bits

struct Numbers {
  int64_t all = 0;
  int64_t of_adapters = 0;
};

Numbers CountNumbers(const ModelConfig& config, const TrainSpec& spec) {
  Numbers numbers;
  VisitParameters(config, [&](const ParameterInfo& info) {
    for (const TensorInfo& tensor : info.tensors) numbers.all += NumbersOf(tensor);
    if (info.is_projection && spec.mode != Mode::kFull)
      for (const int64_t size : AdapterSizes(info, spec)) numbers.of_adapters += size;
    return absl::OkStatus();
  }).IgnoreError();
  return numbers;
}

}  // namespace

// A checkpoint has what trains and two moments of each number. A new one is written before the
// oldest goes, and the best one is kept beside the newest.
DiskPlan PlanDisk(const ModelConfig& config, const TrainSpec& spec) {
  const Numbers numbers = CountNumbers(config, spec);
  DiskPlan plan{.kept = spec.save_total_limit + 1 + (spec.load_best_model_at_end ? 1 : 0)};
  if (spec.mode == Mode::kFull) {
    const int64_t bytes = BytesOf(spec.dtype);
    plan.checkpoint =
        numbers.all * 3 * (spec.precision == Precision::kHfParity ? bytes : kFloat32Bytes);
    plan.result = numbers.all * bytes;
    return plan;
  }
  plan.checkpoint = numbers.of_adapters * 3 * kFloat32Bytes;
  plan.result = numbers.of_adapters * kFloat32Bytes + (spec.merge ? numbers.all * kMergedBytes : 0);
  return plan;
}

}  // namespace ftd

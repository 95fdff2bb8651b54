#include "lib/plan/memory_plan.h"

#include <algorithm>

#include "lib/base/ceil_div.h"
#include "lib/plan/tally.h"

namespace ftd {
namespace {

// Bytes that a tensor of so many numbers of `element` bytes takes.
int64_t Block(int64_t numbers, int64_t element) {
  return CeilDiv(numbers * element, kAllocatedBlock) * kAllocatedBlock;
}

// What worker/engine/ops/nf4 keeps of a matrix: codes of half a byte, a scale of a byte for each 64
// of them, a float for each 256 scales, and their map of 256 floats.
int64_t Nf4Bytes(int64_t numbers) {
  constexpr int64_t kBlock = 64, kNested = 256;
  const int64_t scales = CeilDiv(numbers, kBlock);
  return Block(CeilDiv(numbers, int64_t{2}), 1) + Block(scales, 1) +
         Block(CeilDiv(scales, kNested), kFloat) + Block(kNested, kFloat);
}

// Measured by bench/memory.py: small tensors that have been freed, buffers of the products, and
// the code of as many bfloat16 products as BoundKernelCaches leaves (worker/engine/device).
int64_t LibraryBytes(Dtype dtype) {
  return (dtype == Dtype::kFloat32 ? 28 : 70) * int64_t{1'000'000};
}

class Planner {
 public:
  explicit Planner(const TrainSpec& spec)
      : spec_(spec),
        element_(BytesOf(spec.dtype)),
        trained_(spec.mode == Mode::kFull && spec.precision == Precision::kHfParity ? element_
                                                                                    : kFloat) {}

  void Add(const ParameterInfo& info) {
    int64_t numbers = 0;
    for (const TensorInfo& tensor : info.tensors) numbers += NumbersOf(tensor);
    if (spec_.mode == Mode::kQlora && info.is_projection) {
      for (const TensorInfo& tensor : info.tensors) plan_.weights += Nf4Bytes(NumbersOf(tensor));
      largest_ = std::max(largest_, numbers);
    } else {
      plan_.weights += Block(numbers, element_);
    }
    if (spec_.mode == Mode::kFull) return AddTrained(numbers);
    if (!info.is_projection) return;
    for (const int64_t numbers_of_factor : AdapterSizes(info, spec_)) AddAdapter(numbers_of_factor);
  }

  MemoryPlan Done() {
    plan_.scratch = Block(largest_, element_);
    return plan_;
  }

 private:
  void AddTrained(int64_t numbers) {
    if (trained_ != element_) plan_.masters += Block(numbers, trained_);
    plan_.gradients += Block(numbers, trained_);
    plan_.optimizer += 2 * Block(numbers, trained_);
  }

  void AddAdapter(int64_t numbers) {
    plan_.adapters += Block(numbers, element_);
    AddTrained(numbers);
  }

  const TrainSpec& spec_;
  const int64_t element_, trained_;  // bytes of a number that is multiplied, and of one that trains
  int64_t largest_ = 0;              // numbers of a projection
  MemoryPlan plan_;
};

}  // namespace

MemoryPlan PlanMemory(const ModelConfig& config, const TrainSpec& spec, bool on_gpu,
                      const BatchShape& largest, int64_t recomputed) {
  Planner planner(spec);
  VisitParameters(config, [&](const ParameterInfo& info) {
    planner.Add(info);
    return absl::OkStatus();
  }).IgnoreError();
  MemoryPlan plan = planner.Done();
  StepShape shape = StepShapeOf(config, spec, on_gpu);
  SetBatch(largest, spec.gradient_accumulation_steps > 1, shape);
  plan.recomputed = recomputed;
  plan.step = StepPeakBytes(shape, recomputed);
  if (!on_gpu) plan.libraries = LibraryBytes(spec.dtype);
  return plan;
}

}  // namespace ftd

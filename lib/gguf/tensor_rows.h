// Reads a tensor of a model row by row, as a plan wants it.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/gguf/tensor_plan.h"
#include "lib/model/safetensors.h"

namespace ftd::gguf {

class TensorRows {
 public:
  // `source` is the plan's, or nullptr when the files lack it; a plan with values of its own needs
  // none. Both must outlive this. MODEL_CORRUPT when the tensor is missing or has another shape;
  // MODEL_UNSUPPORTED when its dtype is not float32, float16 or bfloat16.
  static absl::StatusOr<TensorRows> Open(const PlannedTensor& plan, const TensorView* source);

  // Writes row `row` of the planned tensor. May be called from many threads.
  void Read(int64_t row, float* out) const;
  // Gives back the memory of what was read.
  void Release() const;

 private:
  TensorRows(const PlannedTensor& plan, TensorView view) : plan_(&plan), view_(std::move(view)) {}
  float At(int64_t row, int64_t column) const;

  const PlannedTensor* plan_;
  TensorView view_;
};

}  // namespace ftd::gguf

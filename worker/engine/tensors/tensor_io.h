// Between torch's tensors and the bytes of safetensors files.
#pragma once

#include <ATen/core/Tensor.h>

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/model/safetensors.h"
#include "lib/spec/train_spec.h"

namespace ftd::engine {

at::ScalarType ScalarTypeOf(Dtype dtype);
at::ScalarType ScalarTypeOf(TensorDtype dtype);

// Returns a CPU tensor over the view's bytes, which are copied only when they are not aligned for
// their type.
at::Tensor ViewAsTensor(const TensorView& view);

// A named tensor to be written.
struct NamedTensor {
  std::string name;
  at::Tensor tensor;
};

// Writes tensors (any device, contiguous or not) to a new file, metadata {"format": "pt"}. Throws
// EngineError.
void SaveTensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors);

// Throws EngineError for a status that is not OK: kDiskFull for DISK_FULL, kModel for the model's
// reasons.
void ThrowIfError(const absl::Status& status);

// Returns the value, or throws.
template <typename T>
T ValueOrThrow(absl::StatusOr<T> value) {
  ThrowIfError(value.status());
  return *std::move(value);
}

}  // namespace ftd::engine

#include "worker/engine/tensors/tensor_io.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/from_blob.h>

#include <cstring>

#include "lib/base/error.h"
#include "lib/model/safetensors_writer.h"
#include "worker/engine/error.h"

namespace ftd::engine {
namespace {

// Returns the file's name for a dtype, of those that the engine writes.
TensorDtype TensorDtypeOf(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return TensorDtype::kF32;
    case at::kHalf:
      return TensorDtype::kF16;
    case at::kBFloat16:
      return TensorDtype::kBF16;
    case at::kLong:
      return TensorDtype::kI64;
    case at::kByte:
      return TensorDtype::kU8;
    default:
      throw EngineError(EngineError::Kind::kInternal, "a tensor of this dtype cannot be saved");
  }
}

}  // namespace

at::ScalarType ScalarTypeOf(TensorDtype dtype) {
  switch (dtype) {
    case TensorDtype::kF64:
      return at::kDouble;
    case TensorDtype::kF32:
      return at::kFloat;
    case TensorDtype::kF16:
      return at::kHalf;
    case TensorDtype::kBF16:
      return at::kBFloat16;
    case TensorDtype::kI64:
      return at::kLong;
    case TensorDtype::kI32:
      return at::kInt;
    case TensorDtype::kU8:
      return at::kByte;
    case TensorDtype::kOther:
      break;
  }
  throw EngineError(EngineError::Kind::kInternal, "unknown tensor dtype");
}

at::ScalarType ScalarTypeOf(Dtype dtype) {
  switch (dtype) {
    case Dtype::kFloat32:
      return at::kFloat;
    case Dtype::kBfloat16:
      return at::kBFloat16;
    case Dtype::kFloat16:
      return at::kHalf;
  }
  throw EngineError(EngineError::Kind::kInternal, "unknown dtype");
}

// The tensor borrows the mapped, read-only bytes: it must be read only, and not outlive the file.
// from_blob wants a pointer to non-const all the same.
at::Tensor ViewAsTensor(const TensorView& view) {
  const at::ScalarType type = ScalarTypeOf(view.dtype);
  if (reinterpret_cast<uintptr_t>(view.data.data()) % TensorDtypeSize(view.dtype) == 0) {
    return at::from_blob(const_cast<char*>(view.data.data()), view.shape, at::TensorOptions(type));
  }
  // A file's header may have any length, and with it the data any alignment.
  at::Tensor copy = at::empty(view.shape, at::TensorOptions(type));
  std::memcpy(copy.mutable_data_ptr(), view.data.data(), view.data.size());
  return copy;
}

void SaveTensors(const std::filesystem::path& path, const std::vector<NamedTensor>& tensors) {
  // The writer gets views of bytes, so all copies that come from a GPU, or from non-contiguous
  // tensors, live until the file is written. Contiguous ones on the CPU are not copied.
  std::vector<at::Tensor> keep_alive;
  std::vector<TensorToWrite> writes;
  for (const NamedTensor& named : tensors) {
    const at::Tensor tensor = named.tensor.to(at::kCPU).contiguous();
    keep_alive.push_back(tensor);
    writes.push_back({named.name,
                      {TensorDtypeOf(tensor.scalar_type()),
                       tensor.sizes().vec(),
                       {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()}}});
  }
  ThrowIfError(WriteSafetensors(path, writes, {{"format", "pt"}}));
}

// Maps the reasons of the libraries onto the few kinds that the worker treats differently.
void ThrowIfError(const absl::Status& status) {
  if (status.ok()) return;
  const Reason reason = ReasonOf(status);
  EngineError::Kind kind = EngineError::Kind::kInternal;
  if (reason == Reason::kDiskFull) kind = EngineError::Kind::kDiskFull;
  if (reason == Reason::kModelCorrupt || reason == Reason::kModelUnsupported ||
      reason == Reason::kModelNotFound) {
    kind = EngineError::Kind::kModel;
  }
  throw EngineError(kind, std::string(status.message()));
}

}  // namespace ftd::engine

#include "worker/engine/device/guarded.h"

#include <c10/util/Exception.h>

#include <initializer_list>
#include <new>
#include <string>
#include <string_view>

#include "worker/engine/error.h"

namespace ftd::engine {
namespace {

constexpr int kCudaErrorMemoryAllocation = 2;  // cudaError_t

// Returns whether the message is one of the errors that torch has no type for: cuBLAS's when a full
// device has no room for what it allocates itself, as CUDA's NOT_INITIALIZED when a handle is made,
// and the CPU allocator's.
bool TellsOfFullMemory(std::string_view message) {
  for (const std::string_view words :
       {"CUBLAS_STATUS_ALLOC_FAILED", "CUBLAS_STATUS_NOT_INITIALIZED", "CUDNN_STATUS_ALLOC_FAILED",
        "CUDA out of memory", "DefaultCPUAllocator: can't allocate memory"}) {
    if (message.find(words) != std::string_view::npos) return true;
  }
  return false;
}

// Returns torch's error as the engine's, without torch's stack trace, which means nothing to a
// user.
EngineError FromTorch(const c10::Error& error, bool out_of_memory) {
  const std::string message = error.what_without_backtrace();
  return {out_of_memory || TellsOfFullMemory(message) ? EngineError::Kind::kOutOfMemory
                                                      : EngineError::Kind::kInternal,
          message};
}

}  // namespace

void RethrowAsEngineError() {
  // The order matters: the first two derive from c10::Error. An EngineError matches none of them
  // and passes.
  try {
    throw;
  } catch (const c10::OutOfMemoryError& error) {
    throw FromTorch(error, true);
  } catch (const c10::AcceleratorError& error) {
    throw FromTorch(error, error.get_error_code() == kCudaErrorMemoryAllocation);
  } catch (const c10::Error& error) {
    throw FromTorch(error, false);
  } catch (const std::bad_alloc& error) {
    throw EngineError(EngineError::Kind::kOutOfMemory, "an allocation failed (std::bad_alloc)");
  }
}

}  // namespace ftd::engine

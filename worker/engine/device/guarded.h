// The border of the engine: without autograd, and with one type of exception.
#pragma once

#include <ATen/core/grad_mode.h>

namespace ftd::engine {

// Throws what is being handled again, as an EngineError. Call it where an exception was caught.
// Every way in which the device's memory shows that it is full becomes kOutOfMemory: the
// allocator's refusal, CUDA's error 2, cuBLAS without room for its handle or workspace, the host's
// std::bad_alloc. An exception that is neither torch's nor the engine's passes unchanged.
[[noreturn]] void RethrowAsEngineError();

// The result of `body`, called without autograd. Throws EngineError.
template <typename Body>
auto Guarded(Body body) {
  const at::NoGradGuard no_grad;
  try {
    return body();
  } catch (...) {
    RethrowAsEngineError();
  }
}

}  // namespace ftd::engine

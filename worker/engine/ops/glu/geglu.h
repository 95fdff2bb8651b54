// GeGLU (Shazeer 2020) with GELU's tanh approximation, as Gemma has it: a = gelu(g) · u, where
// [g, u] are the two halves of the gate-up projection's output.
#pragma once

#include <ATen/core/Tensor.h>

namespace ftd::engine {

// Returns a [T, F] of gate_up [T, 2F].
at::Tensor GegluForward(const at::Tensor& gate_up);

// Returns d(gate_up) [T, 2F] of da [T, F].
at::Tensor GegluBackward(const at::Tensor& gate_up, const at::Tensor& da);

}  // namespace ftd::engine

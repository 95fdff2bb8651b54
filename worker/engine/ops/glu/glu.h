// Gated linear units (Shazeer 2020): a = act(g) · u, where [g, u] are the two halves of the gate-up
// projection's output. act is SiLU (SwiGLU), or GELU in its tanh approximation (GeGLU), as Gemma
// has it.
#pragma once

#include <ATen/core/Tensor.h>

#include "lib/model/traits.h"

namespace ftd::engine {

// Returns a [T, F] of gate_up [T, 2F].
at::Tensor GluForward(const at::Tensor& gate_up, Activation activation);

// Returns d(gate_up) [T, 2F] of da [T, F].
at::Tensor GluBackward(const at::Tensor& gate_up, const at::Tensor& da, Activation activation);

}  // namespace ftd::engine

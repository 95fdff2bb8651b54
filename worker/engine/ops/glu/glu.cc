#include "worker/engine/ops/glu/glu.h"
#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/glu/glu_cpu.h"
#include "worker/engine/ops/glu/glu_cuda.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>

namespace ftd::engine {
namespace {

// gelu_pytorch_tanh of transformers: 0.5 · g · (1 + tanh(√(2/π) · (g + 0.044715 · g³))).
constexpr char kTanh[] = "tanh";

}  // namespace

// a = act(g) ∘ u, with silu(g) = g · σ(g). In 16-bit types act(g) is rounded before the product, as
// in LlamaMLP's act_fn(gate_proj(x)) * up_proj(x).
at::Tensor GluForward(const at::Tensor& gate_up, Activation activation) {
  if (cpu::Serves(gate_up)) return cpu::GluForward(gate_up, activation);
  if (cuda::Serves(gate_up.device())) return cuda::GluForward(gate_up, activation);
  const int64_t f = gate_up.size(1) / 2;
  const at::Tensor gate = gate_up.narrow(1, 0, f);
  const at::Tensor a = activation == Activation::kSilu ? at::silu(gate) : at::gelu(gate, kTanh);
  return a.mul_(gate_up.narrow(1, f, f));
}

//   du = da ∘ act(g)
//   dg = da ∘ u ∘ act'(g),   of SiLU σ(g) ∘ (1 + g ∘ (1 − σ(g)))
// act(g) is computed again: to keep it would take [T, F] per layer. da ∘ u is rounded to the dtype
// first, as autograd rounds it. Both results are written into halves of one tensor, which the
// gate-up map's backward pass then reads as it is.
at::Tensor GluBackward(const at::Tensor& gate_up, const at::Tensor& da, Activation activation) {
  if (cpu::Serves(gate_up)) return cpu::GluBackward(gate_up, da, activation);
  if (cuda::Serves(gate_up.device())) return cuda::GluBackward(gate_up, da, activation);
  const int64_t f = gate_up.size(1) / 2;
  const at::Tensor gate = gate_up.narrow(1, 0, f), up = gate_up.narrow(1, f, f);
  at::Tensor d_gate_up = at::empty_like(gate_up);
  at::Tensor d_gate = d_gate_up.narrow(1, 0, f), d_up = d_gate_up.narrow(1, f, f);
  if (activation == Activation::kSilu) {
    at::silu_out(d_up, gate).mul_(da);
    at::silu_backward_out(d_gate, da * up, gate);
  } else {
    at::gelu_out(d_up, gate, kTanh).mul_(da);
    at::gelu_backward_out(d_gate, da * up, gate, kTanh);
  }
  return d_gate_up;
}

}  // namespace ftd::engine

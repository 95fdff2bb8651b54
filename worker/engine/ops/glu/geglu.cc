#include "worker/engine/ops/glu/geglu.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/gelu.h>
#include <ATen/ops/gelu_backward.h>
#include <ATen/ops/mul.h>

namespace ftd::engine {
namespace {

// gelu_pytorch_tanh of transformers: 0.5 · g · (1 + tanh(√(2/π) · (g + 0.044715 · g³))).
constexpr char kTanh[] = "tanh";

}  // namespace

// a = gelu(g) ∘ u. In 16-bit types gelu(g) is rounded before the product, as in GemmaMLP.
at::Tensor GegluForward(const at::Tensor& gate_up) {
  const int64_t f = gate_up.size(1) / 2;
  return at::gelu(gate_up.narrow(1, 0, f), kTanh).mul_(gate_up.narrow(1, f, f));
}

//   du = da ∘ gelu(g)
//   dg = da ∘ u ∘ gelu'(g)
// gelu(g) is computed again: to keep it would take [T, F] per layer.
at::Tensor GegluBackward(const at::Tensor& gate_up, const at::Tensor& da) {
  const int64_t f = gate_up.size(1) / 2;
  const at::Tensor gate = gate_up.narrow(1, 0, f), up = gate_up.narrow(1, f, f);
  at::Tensor d_gate_up = at::empty_like(gate_up);
  at::Tensor d_gate = d_gate_up.narrow(1, 0, f), d_up = d_gate_up.narrow(1, f, f);
  d_up.copy_(at::gelu(gate, kTanh).mul_(da));
  d_gate.copy_(at::gelu_backward(da * up, gate, kTanh));
  return d_gate_up;
}

}  // namespace ftd::engine

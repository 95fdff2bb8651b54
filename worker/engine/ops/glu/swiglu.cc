#include "worker/engine/ops/glu/swiglu.h"
#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/glu/swiglu_cpu.h"
#include "worker/engine/ops/glu/swiglu_cuda.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/silu.h>
#include <ATen/ops/silu_backward.h>

namespace ftd::engine {
// a = silu(g) ∘ u with silu(g) = g · σ(g). In 16-bit types silu(g) is rounded before the product,
// as in LlamaMLP's act_fn(gate_proj(x)) * up_proj(x).
at::Tensor SwigluForward(const at::Tensor& gate_up) {
  if (cpu::Serves(gate_up)) return cpu::SwigluForward(gate_up);
  if (cuda::Serves(gate_up.device())) return cuda::SwigluForward(gate_up);
  const int64_t f = gate_up.size(1) / 2;
  return at::silu(gate_up.narrow(1, 0, f)).mul_(gate_up.narrow(1, f, f));
}

//   du = da ∘ silu(g)
//   dg = da ∘ u ∘ σ(g) ∘ (1 + g ∘ (1 − σ(g)))
// silu(g) is computed again: to keep it would take [T, F] per layer. da ∘ u is rounded to the dtype
// first, as autograd rounds it. Both results are written into halves of one tensor, which the
// gate-up map's backward pass then reads as it is.
at::Tensor SwigluBackward(const at::Tensor& gate_up, const at::Tensor& da) {
  if (cpu::Serves(gate_up)) return cpu::SwigluBackward(gate_up, da);
  if (cuda::Serves(gate_up.device())) return cuda::SwigluBackward(gate_up, da);
  const int64_t f = gate_up.size(1) / 2;
  const at::Tensor gate = gate_up.narrow(1, 0, f), up = gate_up.narrow(1, f, f);
  at::Tensor d_gate_up = at::empty_like(gate_up);
  at::Tensor d_gate = d_gate_up.narrow(1, 0, f), d_up = d_gate_up.narrow(1, f, f);
  at::silu_out(d_up, gate).mul_(da);
  at::silu_backward_out(d_gate, da * up, gate);
  return d_gate_up;
}

}  // namespace ftd::engine

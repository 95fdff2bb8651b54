#include "worker/engine/ops/glu/swiglu_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/multiversion.h"

namespace ftd::engine::cpu {
namespace {

// Computes a = g · u / (1 + e^−g): a single division per element. Exp clamps its argument, so it
// never overflows and no branch is needed.
FTD_MULTIVERSION void SwigluRow(const float* gate, const float* up, float* a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) a[i] = gate[i] * up[i] / (1 + Exp(-gate[i]));
}

// Computes swiglu.cc's formulas in one pass, with σ(g) once for both gradients.
FTD_MULTIVERSION void SwigluBackwardRow(const float* gate, const float* up, const float* da,
                                        float* d_gate, float* d_up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float s = 1 / (1 + Exp(-gate[i]));
    d_up[i] = da[i] * gate[i] * s;
    d_gate[i] = da[i] * up[i] * s * (1 + gate[i] * (1 - s));
  }
}

}  // namespace

at::Tensor SwigluForward(const at::Tensor& gate_up) {
  const int64_t T = gate_up.size(0), F = gate_up.size(1) / 2;
  at::Tensor a = at::empty({T, F}, gate_up.options());
  const float* gate_data = gate_up.const_data_ptr<float>();
  float* a_data = a.mutable_data_ptr<float>();
  at::parallel_for(0, T, Grain(F), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      // A row of gate_up holds F gates, then F ups.
      const float* gate = gate_data + t * 2 * F;
      SwigluRow(gate, gate + F, a_data + t * F, F);
    }
  });
  return a;
}

at::Tensor SwigluBackward(const at::Tensor& gate_up, const at::Tensor& da) {
  const int64_t T = gate_up.size(0), F = gate_up.size(1) / 2;
  at::Tensor d_gate_up = at::empty_like(gate_up);
  const float *gate_data = gate_up.const_data_ptr<float>(), *da_data = da.const_data_ptr<float>();
  float* d_data = d_gate_up.mutable_data_ptr<float>();
  at::parallel_for(0, T, Grain(F), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* gate = gate_data + t * 2 * F;
      float* d_gate = d_data + t * 2 * F;
      SwigluBackwardRow(gate, gate + F, da_data + t * F, d_gate, d_gate + F, F);
    }
  });
  return d_gate_up;
}

}  // namespace ftd::engine::cpu

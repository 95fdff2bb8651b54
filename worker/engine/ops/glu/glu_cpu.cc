#include "worker/engine/ops/glu/glu_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/multiversion.h"

namespace ftd::engine::cpu {
namespace {

// The activations as act(g) = g · σ(s(g)), so act'(g) = σ + g · σ · (1 − σ) · s'(g):
//   SiLU:            s(g) = g
//   GELU, by tanh:   s(g) = 2 · √(2/π) · (g + 0.044715 · g³), since 1 + tanh(z) = 2 · σ(2z)
struct SiluGate {
  static float Argument(float g) { return g; }
  static float Slope(float /*g*/) { return 1; }
};

struct GeluGate {
  static constexpr float kTwice = 1.5957691216F;  // 2 · √(2/π)
  static constexpr float kCubic = 0.044715F;
  static float Argument(float g) { return kTwice * (g + kCubic * g * g * g); }
  static float Slope(float g) { return kTwice * (1 + 3 * kCubic * g * g); }
};

// Computes a = g · σ(s(g)) · u with one division per element. Exp clamps its argument, so it never
// overflows and no branch is needed.
template <typename Gate>
[[gnu::always_inline]] inline void Row(const float* gate, const float* up, float* a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) a[i] = gate[i] * up[i] / (1 + Exp(-Gate::Argument(gate[i])));
}

// Computes glu.cc's formulas in one pass, with σ once for both gradients.
template <typename Gate>
[[gnu::always_inline]] inline void BackwardRow(const float* gate, const float* up, const float* da,
                                               float* d_gate, float* d_up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float s = 1 / (1 + Exp(-Gate::Argument(gate[i])));
    d_up[i] = da[i] * gate[i] * s;
    d_gate[i] = da[i] * up[i] * s * (1 + gate[i] * (1 - s) * Gate::Slope(gate[i]));
  }
}

// The compiler makes its versions of functions, not of templates.
FTD_MULTIVERSION void SiluRow(const float* gate, const float* up, float* a, int64_t n) {
  Row<SiluGate>(gate, up, a, n);
}
FTD_MULTIVERSION void GeluRow(const float* gate, const float* up, float* a, int64_t n) {
  Row<GeluGate>(gate, up, a, n);
}
FTD_MULTIVERSION void SiluBackwardRow(const float* gate, const float* up, const float* da,
                                      float* d_gate, float* d_up, int64_t n) {
  BackwardRow<SiluGate>(gate, up, da, d_gate, d_up, n);
}
FTD_MULTIVERSION void GeluBackwardRow(const float* gate, const float* up, const float* da,
                                      float* d_gate, float* d_up, int64_t n) {
  BackwardRow<GeluGate>(gate, up, da, d_gate, d_up, n);
}

}  // namespace

at::Tensor GluForward(const at::Tensor& gate_up, Activation activation) {
  const auto row = activation == Activation::kSilu ? SiluRow : GeluRow;
  const int64_t T = gate_up.size(0), F = gate_up.size(1) / 2;
  at::Tensor a = at::empty({T, F}, gate_up.options());
  const float* gate_data = gate_up.const_data_ptr<float>();
  float* a_data = a.mutable_data_ptr<float>();
  at::parallel_for(0, T, Grain(F), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      // A row of gate_up holds F gates, then F ups.
      const float* gate = gate_data + t * 2 * F;
      row(gate, gate + F, a_data + t * F, F);
    }
  });
  return a;
}

at::Tensor GluBackward(const at::Tensor& gate_up, const at::Tensor& da, Activation activation) {
  const auto row = activation == Activation::kSilu ? SiluBackwardRow : GeluBackwardRow;
  const int64_t T = gate_up.size(0), F = gate_up.size(1) / 2;
  at::Tensor d_gate_up = at::empty_like(gate_up);
  const float *gate_data = gate_up.const_data_ptr<float>(), *da_data = da.const_data_ptr<float>();
  float* d_data = d_gate_up.mutable_data_ptr<float>();
  at::parallel_for(0, T, Grain(F), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* gate = gate_data + t * 2 * F;
      float* d_gate = d_data + t * 2 * F;
      row(gate, gate + F, da_data + t * F, d_gate, d_gate + F, F);
    }
  });
  return d_gate_up;
}

}  // namespace ftd::engine::cpu

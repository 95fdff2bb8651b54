#include "worker/engine/ops/norm/norm_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <cmath>

#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/multiversion.h"

namespace ftd::engine::cpu {
namespace {

// Returns Σ a_i b_i with sixteen running sums, which vectorise although the compiler may
// reassociate nothing: the order of the additions is written here and is the same at every vector
// width.
FTD_MULTIVERSION float Dot(const float* a, const float* b, int64_t n) {
  float sums[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int j = 0; j < 16; ++j) sums[j] += a[i + j] * b[i + j];
  }
  float total = 0;
  for (; i < n; ++i) total += a[i] * b[i];
  for (float sum : sums) total += sum;
  return total;
}

// Returns Σ a_i b_i c_i, likewise.
FTD_MULTIVERSION float Dot3(const float* a, const float* b, const float* c, int64_t n) {
  float sums[16] = {};
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int j = 0; j < 16; ++j) sums[j] += a[i + j] * b[i + j] * c[i + j];
  }
  float total = 0;
  for (; i < n; ++i) total += a[i] * b[i] * c[i];
  for (float sum : sums) total += sum;
  return total;
}

// Sets y = x · rstd · w. In float32 LlamaRMSNorm's cast before the weight changes nothing.
FTD_MULTIVERSION void ScaleRow(const float* x, const float* w, float scale, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * scale * w[i];
}

// Sets dx = rstd · (g − x · projection) with g = dy ∘ w. That is norm.cc's formula with x̂ = x ·
// rstd put in, so that no row of x̂ has to be stored.
FTD_MULTIVERSION void NormBackwardRow(const float* x, const float* w, const float* dy, float rstd,
                                      float projection, float* dx, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dx[i] = rstd * (dy[i] * w[i] - x[i] * projection);
}

}  // namespace

at::Tensor RmsNormForward(const at::Tensor& x, const at::Tensor& w, double eps, at::Tensor* rstd) {
  const int64_t T = x.size(0), D = x.size(1);
  at::Tensor y = at::empty_like(x);
  *rstd = at::empty({T, 1}, x.options());
  const float *x_data = x.const_data_ptr<float>(), *w_data = w.const_data_ptr<float>();
  float *y_data = y.mutable_data_ptr<float>(), *r_data = rstd->mutable_data_ptr<float>();
  at::parallel_for(0, T, Grain(D), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float* row = x_data + t * D;
      // Two passes over a row, the second of which finds it in the cache.
      r_data[t] = 1 / std::sqrt(Dot(row, row, D) / static_cast<float>(D) + static_cast<float>(eps));
      ScaleRow(row, w_data, r_data[t], y_data + t * D, D);
    }
  });
  return y;
}

at::Tensor RmsNormRecompute(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd) {
  const int64_t T = x.size(0), D = x.size(1);
  at::Tensor y = at::empty_like(x);
  const float *x_data = x.const_data_ptr<float>(), *w_data = w.const_data_ptr<float>();
  const float* r_data = rstd.const_data_ptr<float>();
  float* y_data = y.mutable_data_ptr<float>();
  at::parallel_for(0, T, Grain(D), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t)
      ScaleRow(x_data + t * D, w_data, r_data[t], y_data + t * D, D);
  });
  return y;
}

at::Tensor RmsNormBackward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd,
                           const at::Tensor& dy) {
  const int64_t T = x.size(0), D = x.size(1);
  at::Tensor dx = at::empty_like(x);
  const float *x_data = x.const_data_ptr<float>(), *w_data = w.const_data_ptr<float>();
  const float *r_data = rstd.const_data_ptr<float>(), *dy_data = dy.const_data_ptr<float>();
  float* dx_data = dx.mutable_data_ptr<float>();
  at::parallel_for(0, T, Grain(D), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const float *row = x_data + t * D, *dy_row = dy_data + t * D;
      // projection = rstd² · Σ g x / D: the part of g along x, which a change of x's length cannot
      // move.
      const float projection =
          Dot3(dy_row, w_data, row, D) * r_data[t] * r_data[t] / static_cast<float>(D);
      NormBackwardRow(row, w_data, dy_row, r_data[t], projection, dx_data + t * D, D);
    }
  });
  return dx;
}

}  // namespace ftd::engine::cpu

#include "worker/engine/cpu_kernels.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/zeros.h>

#include <bit>
#include <cmath>
#include <limits>
#include <vector>

#include "worker/engine/multiversion.h"

namespace ftd::engine::cpu {
namespace {

// Rows a thread takes at a time: enough work to be worth a hand-over.
int64_t Grain(int64_t row_elements) {
  return std::max<int64_t>(1, 16384 / std::max<int64_t>(1, row_elements));
}

// Σ a_i b_i with eight running sums, which vectorise without reassociation being allowed anywhere
// else.
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

// Σ a_i b_i c_i, likewise.
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

FTD_MULTIVERSION void ScaleRow(const float* x, const float* w, float scale, float* y, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[i] * scale * w[i];
}

FTD_MULTIVERSION void NormBackwardRow(const float* x, const float* w, const float* dy, float rstd,
                                      float projection, float* dx, int64_t n) {
  for (int64_t i = 0; i < n; ++i) dx[i] = rstd * (dy[i] * w[i] - x[i] * projection);
}

// e^x to within 2 units in the last place, without a branch, so that loops over it vectorise: x =
// n·ln 2 + r, e^r by its Taylor polynomial of degree 7 on |r| ≤ ln 2 / 2, and 2^n put together from
// bits.
inline float Exp(float x) {
  constexpr float kRound = 12582912.0F;  // 1.5 · 2²³: adding it rounds to the nearest integer
  x = x < -87.0F ? -87.0F : (x > 88.0F ? 88.0F : x);
  const float shifted = x * 1.44269504F + kRound;
  const float n = shifted - kRound;
  const float r = (x - n * 0.693359375F) + n * 2.12194440e-4F;
  float p = 1.0F / 5040;
  p = p * r + 1.0F / 720;
  p = p * r + 1.0F / 120;
  p = p * r + 1.0F / 24;
  p = p * r + 1.0F / 6;
  p = p * r + 0.5F;
  p = p * r + 1.0F;
  p = p * r + 1.0F;
  const int32_t exponent = (std::bit_cast<int32_t>(shifted) - std::bit_cast<int32_t>(kRound) + 127)
                           << 23;
  return p * std::bit_cast<float>(exponent);
}

FTD_MULTIVERSION void SwigluRow(const float* gate, const float* up, float* a, int64_t n) {
  for (int64_t i = 0; i < n; ++i) a[i] = gate[i] * up[i] / (1 + Exp(-gate[i]));
}

FTD_MULTIVERSION void SwigluBackwardRow(const float* gate, const float* up, const float* da,
                                        float* d_gate, float* d_up, int64_t n) {
  for (int64_t i = 0; i < n; ++i) {
    const float s = 1 / (1 + Exp(-gate[i]));
    d_up[i] = da[i] * gate[i] * s;
    d_gate[i] = da[i] * up[i] * s * (1 + gate[i] * (1 - s));
  }
}

FTD_MULTIVERSION float Max(const float* x, int64_t n) {
  float maxima[16];
  for (float& m : maxima) m = -std::numeric_limits<float>::infinity();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int j = 0; j < 16; ++j) maxima[j] = x[i + j] > maxima[j] ? x[i + j] : maxima[j];
  }
  float most = -std::numeric_limits<float>::infinity();
  for (; i < n; ++i) most = x[i] > most ? x[i] : most;
  for (float m : maxima) most = m > most ? m : most;
  return most;
}

// Σ e and Σ e·s over a row, s = x − most and e = eˢ.
struct ExpSums {
  double e = 0, es = 0;
};

// x ← e^(x − most); returns the sums.
FTD_MULTIVERSION ExpSums ExpRow(float* x, float most, int64_t n) {
  ExpSums total;
  for (int64_t begin = 0; begin < n;
       begin += 4096) {  // float sums of short stretches, added up in double
    const int64_t end = begin + 4096 < n ? begin + 4096 : n;
    float e_sums[16] = {}, es_sums[16] = {};
    int64_t i = begin;
    for (; i + 16 <= end; i += 16) {
      for (int j = 0; j < 16; ++j) {
        const float s = x[i + j] - most;
        const float e = Exp(s);
        x[i + j] = e;
        e_sums[j] += e;
        es_sums[j] += e * s;
      }
    }
    for (; i < end; ++i) {
      const float s = x[i] - most;
      x[i] = Exp(s);
      total.e += x[i];
      total.es += x[i] * s;
    }
    for (float sum : e_sums) total.e += sum;
    for (float sum : es_sums) total.es += sum;
  }
  return total;
}

FTD_MULTIVERSION void MultiplyRow(float* x, float factor, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] *= factor;
}

FTD_MULTIVERSION void RotateHead(float* head, const float* cos, const float* sin, float sign,
                                 int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[half + i], s = sign * sin[i];
    head[i] = a * cos[i] - b * s;
    head[half + i] = b * cos[i] + a * s;
  }
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
      r_data[t] = 1 / std::sqrt(Dot(row, row, D) / static_cast<float>(D) + static_cast<float>(eps));
      ScaleRow(row, w_data, r_data[t], y_data + t * D, D);
    }
  });
  return y;
}

at::Tensor RmsNormAgain(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd) {
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
      const float projection =
          Dot3(dy_row, w_data, row, D) * r_data[t] * r_data[t] / static_cast<float>(D);
      NormBackwardRow(row, w_data, dy_row, r_data[t], projection, dx_data + t * D, D);
    }
  });
  return dx;
}

void ApplyRope(at::Tensor& heads, const at::Tensor& cos, const at::Tensor& sin, bool backward) {
  const int64_t T = heads.size(0), count = heads.size(1), half = heads.size(2) / 2;
  const int64_t row_stride = heads.stride(0), head_stride = heads.stride(1);
  float* data = heads.mutable_data_ptr<float>();
  const float *cos_data = cos.const_data_ptr<float>(), *sin_data = sin.const_data_ptr<float>();
  const float sign = backward ? -1.0F : 1.0F;
  at::parallel_for(0, T, Grain(count * half * 2), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < count; ++h) {
        RotateHead(data + t * row_stride + h * head_stride, cos_data + t * half,
                   sin_data + t * half, sign, half);
      }
    }
  });
}

at::Tensor SwigluForward(const at::Tensor& gate_up) {
  const int64_t T = gate_up.size(0), F = gate_up.size(1) / 2;
  at::Tensor a = at::empty({T, F}, gate_up.options());
  const float* gate_data = gate_up.const_data_ptr<float>();
  float* a_data = a.mutable_data_ptr<float>();
  at::parallel_for(0, T, Grain(F), [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
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

DeviceSums CrossEntropyInPlace(at::Tensor& logits, const at::Tensor& targets) {
  const int64_t S = logits.size(0), V = logits.size(1);
  float* data = logits.mutable_data_ptr<float>();
  const int64_t* target = targets.const_data_ptr<int64_t>();
  // Summed in order afterwards, so that the threads do not show.
  std::vector<LossSums> rows(static_cast<size_t>(S));
  at::parallel_for(0, S, Grain(V), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      float* row = data + s * V;
      const float most = Max(row, V);
      const double shifted_target = static_cast<double>(row[target[s]]) - most;
      const bool likeliest = row[target[s]] == most && Max(row, target[s]) < most;
      const ExpSums sums = ExpRow(row, most, V);
      const double log_sum = std::log(sums.e);
      rows[static_cast<size_t>(s)] = {log_sum - shifted_target, log_sum - sums.es / sums.e,
                                      likeliest ? 1 : 0, 1};
      MultiplyRow(row, static_cast<float>(1 / sums.e), V);
      row[target[s]] -= 1;
    }
  });
  DeviceSums sums = at::zeros({3}, at::TensorOptions(at::kDouble));
  auto* total = sums.mutable_data_ptr<double>();
  for (const LossSums& row : rows) {
    total[0] += row.nll;
    total[1] += row.entropy;
    total[2] += static_cast<double>(row.correct);
  }
  return sums;
}

}  // namespace ftd::engine::cpu

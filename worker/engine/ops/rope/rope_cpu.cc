#include "worker/engine/ops/rope/rope_cpu.h"

#include <ATen/Parallel.h>

#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/multiversion.h"

namespace ftd::engine::cpu {
namespace {

// Rotates the first 2·half features of one head in place; both old values of a pair are read before
// either is written.
FTD_MULTIVERSION void RotateHead(float* head, const float* cos, const float* sin, float sign,
                                 int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = head[i], b = head[half + i], s = sign * sin[i];
    head[i] = a * cos[i] - b * s;
    head[half + i] = b * cos[i] + a * s;
  }
}

// The same of pairs that lie side by side.
FTD_MULTIVERSION void RotateInterleaved(float* head, const float* cos, const float* sin, float sign,
                                        int64_t half) {
  for (int64_t i = 0; i < half; ++i) {
    const float a = head[2 * i], b = head[2 * i + 1], s = sign * sin[i];
    head[2 * i] = a * cos[i] - b * s;
    head[2 * i + 1] = b * cos[i] + a * s;
  }
}

}  // namespace

void ApplyRope(at::Tensor& heads, const RopeTable& table, bool backward) {
  const int64_t T = heads.size(0), count = heads.size(1), half = table.cos.size(-1);
  const auto rotate = table.interleaved ? RotateInterleaved : RotateHead;
  // The heads are a slice of qkv, so rows are further apart than their own width.
  const int64_t row_stride = heads.stride(0), head_stride = heads.stride(1);
  float* data = heads.mutable_data_ptr<float>();
  const float *cos_data = table.cos.const_data_ptr<float>(),
              *sin_data = table.sin.const_data_ptr<float>();
  const float sign = backward ? -1.0F : 1.0F;
  at::parallel_for(0, T, Grain(count * half * 2), [&](int64_t begin, int64_t end) {
    // Threads take whole tokens: all heads of a token use the same row of the table.
    for (int64_t t = begin; t < end; ++t) {
      for (int64_t h = 0; h < count; ++h) {
        rotate(data + t * row_stride + h * head_stride, cos_data + t * half, sin_data + t * half,
               sign, half);
      }
    }
  });
}

}  // namespace ftd::engine::cpu

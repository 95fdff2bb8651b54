// Attention whose scores are capped (Gemma 2): softmax(c · tanh(scale · q kᵀ / c) + mask) v, which
// no kernel of ATen's computes.
//
// Legend: t tokens of one document, N heads, K kv heads, H head dim.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ftd::engine {

struct SoftcapShape {
  double scale = 1, softcap = 1;
  int64_t window = 0;  // 0: none
};

// Returns out [1, N, t, H] of q [1, N, t, H], k and v [1, K, t, H]: one document's, causal.
at::Tensor SoftcappedForward(const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
                             const SoftcapShape& shape);

struct SoftcappedGradients {
  at::Tensor q, k, v;
};

// Returns the gradients of q, k and v from dout [1, N, t, H]. The scores are made again.
SoftcappedGradients SoftcappedBackward(const at::Tensor& q, const at::Tensor& k,
                                       const at::Tensor& v, const SoftcapShape& shape,
                                       const at::Tensor& dout);

}  // namespace ftd::engine

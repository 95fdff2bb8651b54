// RMSNorm of queries and of keys before their rotation: of each head (Qwen3), or of the whole
// projection (OLMo 2), as the weight is wide.
//
// Legend: T tokens, N heads, K kv heads, H head dim.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "worker/engine/ops/norm/norm.h"

namespace ftd::engine {

// Kept from forward to backward.
struct HeadNormSaved {
  at::Tensor x;  // [T·columns/W, W]: what is normed, before it is
  NormSaved norm;
};

// Norms `columns` of qkv [T, (N+2K)·H] in place, from `first` on, in stretches as wide as the
// weight [W].
void HeadNormForward(const at::Tensor& qkv, int64_t first, int64_t columns,
                     const NormWeight& weight, double eps, HeadNormSaved* saved);

// Takes the gradients of normed columns, in dqkv, to those before the norm; adds the weight's to
// `w_grad` [W] when that is defined.
void HeadNormBackward(const at::Tensor& dqkv, int64_t first, int64_t columns,
                      const NormWeight& weight, const HeadNormSaved& saved,
                      const at::Tensor& w_grad);

}  // namespace ftd::engine

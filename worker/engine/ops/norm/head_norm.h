// RMSNorm of each head of queries and keys, as Qwen3 has it before their rotation.
//
// Legend: T tokens, N heads, K kv heads, H head dim.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

#include "worker/engine/ops/norm/norm.h"

namespace ftd::engine {

// Kept from forward to backward.
struct HeadNormSaved {
  at::Tensor x;  // [T·heads, H]: the heads before their norm
  NormSaved norm;
};

// Norms `count` heads from `first` on of qkv [T, (N+2K)·H] in place, with w [H].
void HeadNormForward(const at::Tensor& qkv, int64_t first, int64_t count, const at::Tensor& w,
                     double eps, HeadNormSaved* saved);

// Takes the gradients of normed heads, in dqkv, to those before the norm; adds the weight's to
// `w_grad` [H] when that is defined.
void HeadNormBackward(const at::Tensor& dqkv, int64_t first, int64_t count, const at::Tensor& w,
                      const HeadNormSaved& saved, const at::Tensor& w_grad);

}  // namespace ftd::engine

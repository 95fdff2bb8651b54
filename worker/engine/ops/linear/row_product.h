// A linear map of few tokens on the CPU, as generation has it: one token of each running sequence.
// Such a product reads all of the weight for little arithmetic, so it runs at the memory's speed.
//
// Each number of the result is a sum in an order of its own, which depends on the input features
// alone: neither on the rows beside it nor on the number of threads. A library's product chooses
// its order by the shape.
//
// Legend: T tokens, I input features, O output features.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>

namespace ftd::engine {

// Tokens up to which this product is faster than the library's.
constexpr int64_t kRowProductTokens = 32;

// Returns whether RowProduct takes x [T, I]: float32 or bfloat16 on the CPU, of few enough tokens.
bool TakenByRowProduct(const at::Tensor& x);

// Returns y [T, O] = x wᵀ, contiguous, of x [T, I] and w [O, I], both of one dtype and with rows
// that are contiguous. Sums in float32; a bfloat16 y is rounded once.
at::Tensor RowProduct(const at::Tensor& x, const at::Tensor& w);

}  // namespace ftd::engine

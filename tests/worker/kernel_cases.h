// What the CUDA kernels must do, whoever runs them: the GPU, or cuda_on_cpu on the CPU.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <functional>
#include <string>
#include <utility>
#include <vector>

namespace ftd::engine {

constexpr at::ScalarType kKernelDtypes[] = {at::kFloat, at::kBFloat16, at::kHalf};

// Shapes around the sizes of NF4's blocks, [rows, columns].
extern const std::vector<std::pair<int64_t, int64_t>> kSmallMatrices;

// Named ways to fill a matrix, float32, drawn from at::manual_seed's generator.
std::vector<std::pair<std::string, at::Tensor>> Fillings(int64_t rows, int64_t cols);

bool SameBytes(const at::Tensor& a, const at::Tensor& b);

struct Tile {
  at::Tensor gradient;  // [S, V], in the logits' dtype
  at::Tensor sums;      // [3] float64: nll, entropy, correct
};

// The loss of logits [S, V] at targets [S] by the kernel under test; all on the CPU.
using TileKernel = std::function<Tile(const at::Tensor& logits, const at::Tensor& targets)>;

// Vocabularies around the widths of packets, warps and blocks, and those of real models.
extern const std::vector<int64_t> kVocabularies;

// Each compares `kernel` with the definitions in float64, in every dtype.
void TileEqualsTheDefinitions(const TileKernel& kernel, int64_t vocabulary);
void OfEquallyLikelyTokensTheFirstCounts(const TileKernel& kernel);
void MinusInfinityCountsForNothing(const TileKernel& kernel);
void NotANumberIsSeen(const TileKernel& kernel);

}  // namespace ftd::engine

// The frozen weight of a linear map, held in NF4 and expanded whenever it is multiplied with.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "worker/engine/ops/nf4/nf4.h"

namespace ftd::engine {

// Each projection of a map is quantised by itself, so that its blocks are those of the tensor in
// the file; a repository may also have left one as it was.
struct Nf4Part {
  Nf4Tensor quantized;
  at::Tensor plain;  // [rows, cols], when it is not quantised
};

struct Nf4Weight {
  std::vector<Nf4Part> parts;  // stacked by rows
  // Room for the largest map of the model in the compute dtype, which all its maps share.
  at::Tensor scratch;

  bool defined() const { return !parts.empty(); }
  int64_t cols() const;
  int64_t numel() const;
  // [O, I], valid until any map that shares the scratch is expanded.
  at::Tensor Expanded() const;
};

}  // namespace ftd::engine

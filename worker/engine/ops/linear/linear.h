// A linear map with optional bias and optional low-rank adapters, forward and backward.
//
// Projections that read the same input (q, k, v; gate, up) are one map whose output is the
// concatenation of theirs: one large product instead of several small ones. Each part may carry an
// adapter of its own (Hu et al. 2021):
//   y_part = x Wᵀ_part + bias_part + s · drop(x) Aᵀ Bᵀ,   s = LoraSpec::Scale()
//
// Legend: T tokens, I input features, O output features of the whole map, R rank, P adapted parts.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <optional>
#include <vector>

#include "worker/engine/ops/dropout/dropout.h"
#include "worker/engine/ops/nf4/nf4_weight.h"
#include "worker/engine/ops/norm/norm.h"
#include "worker/engine/tensors/parameter.h"

namespace ftd::engine {

// One part's adapter. A is a slice of LinearLayer::lora_a.
struct Adapter {
  int64_t first = 0;  // first output row of the part
  int64_t count = 0;  // its output rows
  Parameter b;        // [count, R]
};

struct LinearLayer {
  Parameter weight;               // [O, I]; its names alone when `nf4` holds it
  Nf4Weight nf4;                  // the weight, frozen and quantised
  Parameter bias;                 // [O]; undefined without
  Parameter lora_a;               // [P·R, I]; undefined without adapters
  std::vector<Adapter> adapters;  // in the order of lora_a's slices
  double scale = 0;               // s
  int64_t rank = 0;
  // In the forward pass few tokens go through RowProduct, so that a token's numbers do not depend
  // on those beside it: for generation.
  bool by_rows = false;

  bool adapted() const { return !adapters.empty(); }
  // [O, I] in the compute dtype, valid until that of another layer is asked for.
  at::Tensor Weight() const { return nf4.defined() ? nf4.Expanded() : weight.value; }
  int64_t in_features() const { return nf4.defined() ? nf4.cols() : weight.value.size(1); }
};

// Kept from forward to backward.
struct LinearSaved {
  at::Tensor t;  // [T, P·R]: drop(x) Aᵀ
};

// A map's input in the backward pass: x [T, I] itself, or RMSNorm's input, weight and statistics,
// which make it again.
struct LinearInput {
  at::Tensor x;
  at::Tensor norm_input;
  NormWeight norm_weight;
  NormSaved norm;

  at::Tensor Value() const {
    return x.defined() ? x : RmsNormRecompute(norm_input, norm_weight, norm);
  }
};

// Returns whether the normed x of a frozen map is left out of the backward pass, for tensors like
// that. It is on a GPU in bfloat16: not in float16, which a statistic's factor may overflow, and
// not on a CPU, whose results stay what they were.
bool NormFoldsIntoProduct(const at::Tensor& x);

// Returns y [T, O] of x [T, I].
at::Tensor LinearForward(const LinearLayer& layer, const at::Tensor& x, const Dropout& dropout,
                         LinearSaved* saved);

// Saves what LinearForward would, without y: for a layer that is recomputed and whose y is not
// needed.
void LinearRecompute(const LinearLayer& layer, const at::Tensor& x, const Dropout& dropout,
                     LinearSaved* saved);

// Adds to the gradients of the layer's trainable parameters; returns dx [T, I], or an undefined
// tensor unless `needs_dx`. `input` is the forward pass's x.
at::Tensor LinearBackward(LinearLayer& layer, const LinearInput& input, const LinearSaved& saved,
                          const Dropout& dropout, const at::Tensor& dy, bool needs_dx);

}  // namespace ftd::engine

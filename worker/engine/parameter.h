// A trainable (or frozen) tensor with what training keeps beside it.
#pragma once

#include <ATen/core/Tensor.h>

#include <string>
#include <vector>

namespace ftd::engine {

// Several projections that read the same input share one tensor: rows of `value` belong to one name
// each.
struct NamedRows {
  std::string name;   // Hugging Face's, "model.layers.0.self_attn.q_proj.weight"
  int64_t first = 0;  // first row
  int64_t count = 0;  // rows; for a vector its elements
};

// `value` is what the forward pass multiplies with, in the compute dtype. A trainable parameter has
// a `master` that the optimizer updates (the same tensor as `value` when they are of one dtype);
// it, `grad` and the moments are float32, or of the compute dtype when Hugging Face's arithmetic is
// asked for.
struct Parameter {
  at::Tensor value;
  at::Tensor master;
  at::Tensor grad;
  at::Tensor exp_avg;     // AdamW's first moment
  at::Tensor exp_avg_sq;  // AdamW's second moment
  std::vector<NamedRows> names;
  bool decays = true;  // norms and biases take no weight decay

  bool trainable() const { return master.defined(); }
  // Makes it trainable: allocates master (from `value`), zero grad and zero moments of `dtype`.
  void MakeTrainable(bool weight_decay, at::ScalarType dtype = at::kFloat);
};

// grad += scale · aᵀ b for a [T, O], b [T, I] and grad [O, I] (a view is fine), which is float32 or
// of a's dtype.
void AccumulateProduct(const at::Tensor& grad, const at::Tensor& a, const at::Tensor& b,
                       double scale = 1.0);

}  // namespace ftd::engine

// A trainable (or frozen) tensor, with the tensors that training keeps for it.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
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
  // True: `grad` holds an older step's gradient, or nothing at all, and the first product
  // overwrites it.
  bool grad_is_stale = false;
  at::Tensor exp_avg;     // AdamW's first moment
  at::Tensor exp_avg_sq;  // AdamW's second moment
  std::vector<NamedRows> names;
  bool decays = true;  // AdamW's weight decay applies

  bool trainable() const { return master.defined(); }
  // Makes it trainable: allocates master (from `value`), a stale grad and zero moments of `dtype`.
  void MakeTrainable(at::ScalarType dtype = at::kFloat);
  // Returns grad, for adding to: zeros when it was stale. Undefined when the parameter is frozen.
  at::Tensor& FreshGrad();
};

// The effect of a product on the sum that it belongs to.
enum class Onto { kSum, kNothing };

// Sets sum = (sum or 0) + scale · aᵀ b for a [T, O], b [T, I] and sum [O, I] (a view is fine),
// which is float32 or of a's dtype. The first product of a sum saves the zeros and the reading of
// them, which for small batches is much of a step.
void AddProduct(const at::Tensor& sum, Onto onto, const at::Tensor& a, const at::Tensor& b,
                double scale = 1.0);
// Does the same for a parameter's gradient.
void AccumulateProduct(Parameter& parameter, const at::Tensor& a, const at::Tensor& b,
                       double scale = 1.0);

}  // namespace ftd::engine

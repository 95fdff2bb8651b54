#include "worker/engine/ops/linear/linear.h"

#include <ATen/TensorOperators.h>
#include <ATen/ops/addmm.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/mul.h>
#include <ATen/ops/sum.h>

#include <utility>

#include "worker/engine/ops/linear/row_product.h"

namespace ftd::engine {
namespace {

// Returns adapter i's rows of A or its gradient [P·R, I].
at::Tensor PartOfA(const at::Tensor& a, int64_t rank, size_t i) {
  return a.narrow(0, static_cast<int64_t>(i) * rank, rank);
}

// Returns adapter i's columns of t or its gradient [T, P·R].
at::Tensor PartOfT(const at::Tensor& t, int64_t rank, size_t i) {
  return t.narrow(1, static_cast<int64_t>(i) * rank, rank);
}

// Sets out = scale · a b. A GPU scales within the product's kernel; a CPU rounds the product first
// and then scales it, which keeps its results what they were.
void ScaledProduct(const at::Tensor& a, const at::Tensor& b, double scale, at::Tensor& out) {
  if (out.is_cuda()) {
    at::addmm_out(out, out, a, b, /*beta=*/0.0, scale);
  } else {
    out.copy_(at::mm(a, b).mul_(scale));
  }
}

// Computes LinearForward's y by RowProduct.
at::Tensor ForwardByRows(const LinearLayer& layer, const at::Tensor& x) {
  at::Tensor y = RowProduct(x, layer.Weight());
  if (layer.bias.value.defined()) y.add_(layer.bias.value);
  if (!layer.adapted()) return y;
  const at::Tensor t = RowProduct(x, layer.lora_a.value);
  for (size_t i = 0; i < layer.adapters.size(); ++i) {
    const Adapter& adapter = layer.adapters[i];
    y.narrow(1, adapter.first, adapter.count)
        .add_(RowProduct(PartOfT(t, layer.rank, i), adapter.b.value), layer.scale);
  }
  return y;
}

// Returns whether A's gradient, the only reader of x, can do without it.
bool NormStaysInside(const LinearLayer& layer, const LinearInput& input, const Dropout& dropout) {
  return !input.x.defined() && !layer.weight.trainable() && dropout.p == 0 &&
         NormFoldsIntoProduct(input.norm_input);
}

// Adds A's gradient dtᵀ x for x = w ∘ (h · rstd) as (dt · rstd)ᵀ h ∘ w. rstd scales the T rows of
// dt and w the I columns of the product [P·R, I]: both are small, and the pass that would make x
// [T, I] again is saved.
void AccumulateNormedProduct(Parameter& a, const at::Tensor& dt, const LinearInput& input) {
  at::Tensor scaled = at::empty_like(dt);
  at::mul_out(scaled, dt, input.norm.rstd);
  const at::Tensor product = at::mm(scaled.t(), input.norm_input, at::kFloat);
  if (std::exchange(a.grad_is_stale, false)) {
    at::mul_out(a.grad, product, input.norm_weight.Factor());
  } else {
    a.grad.addcmul_(product, input.norm_weight.Factor());
  }
}

}  // namespace

bool NormFoldsIntoProduct(const at::Tensor& x) {
  return x.is_cuda() && x.scalar_type() == at::kBFloat16;
}

// t_i = drop_i(x) A_iᵀ. Without dropout all adapters of the map read the same x, so their A are one
// product [T, I] × [I, P·R]. With it each has a mask of its own, as in PEFT, where each adapted
// module has a Dropout of its own.
void LinearRecompute(const LinearLayer& layer, const at::Tensor& x, const Dropout& dropout,
                     LinearSaved* saved) {
  if (!layer.adapted()) return;
  if (dropout.p == 0) {
    saved->t = at::mm(x, layer.lora_a.value.t());
    return;
  }
  std::vector<at::Tensor> parts;
  for (size_t i = 0; i < layer.adapters.size(); ++i) {
    parts.push_back(
        at::mm(Dropped(x, dropout.Mask(i)), PartOfA(layer.lora_a.value, layer.rank, i).t()));
  }
  saved->t = at::cat(parts, 1);
}

//   y   = x Wᵀ + bias
//   y_i = y_i + s · t_i B_iᵀ    on the columns of part i
// PEFT computes result + lora_B(lora_A(dropout(x))) * scaling. Here the product adds onto y with s
// as its factor, so no tensor as wide as y is made for it; the results differ in the last digits.
at::Tensor LinearForward(const LinearLayer& layer, const at::Tensor& x, const Dropout& dropout,
                         LinearSaved* saved) {
  if (layer.by_rows && TakenByRowProduct(x)) return ForwardByRows(layer, x);
  at::Tensor y = layer.bias.value.defined() ? at::addmm(layer.bias.value, x, layer.Weight().t())
                                            : at::mm(x, layer.Weight().t());
  LinearRecompute(layer, x, dropout, saved);
  for (size_t i = 0; i < layer.adapters.size(); ++i) {
    const Adapter& adapter = layer.adapters[i];
    y.narrow(1, adapter.first, adapter.count)
        .addmm_(PartOfT(saved->t, layer.rank, i), adapter.b.value.t(), 1.0, layer.scale);
  }
  return y;
}

// With g_i the columns of dy that belong to part i:
//   dW   = dyᵀ x                 if W trains
//   dbias = Σ_t dy_t             likewise
//   dx   = dy W
//   dt_i = s · g_i B_i           [T, R]
//   dB_i = s · g_iᵀ t_i          [count, R]
//   dA_i = dt_iᵀ drop_i(x)       [R, I]
//   dx  += drop_i(dt_i A_i)
// Dropout is a product with a constant mask, so its gradient is the same product: both use drop_i.
at::Tensor LinearBackward(LinearLayer& layer, const LinearInput& input, const LinearSaved& saved,
                          const Dropout& dropout, const at::Tensor& dy, bool needs_dx) {
  const bool norm_inside = NormStaysInside(layer, input, dropout);
  const at::Tensor x = norm_inside ? at::Tensor() : input.Value();
  if (layer.weight.trainable()) AccumulateProduct(layer.weight, dy, x);
  if (layer.bias.trainable()) {
    at::Tensor& grad = layer.bias.FreshGrad();
    grad.add_(at::sum(dy, {0}, /*keepdim=*/false, grad.scalar_type()));
  }
  at::Tensor dx;
  // In QLoRA Weight() expands NF4 into a scratch that other maps share: it is multiplied with at
  // once.
  if (needs_dx) dx = at::mm(dy, layer.Weight());
  if (!layer.adapted()) return dx;

  at::Tensor dt = at::empty_like(saved.t);  // [T, P·R]
  for (size_t i = 0; i < layer.adapters.size(); ++i) {
    Adapter& adapter = layer.adapters[i];
    const at::Tensor dy_part = dy.narrow(1, adapter.first, adapter.count);
    at::Tensor dt_part = PartOfT(dt, layer.rank, i);
    ScaledProduct(dy_part, adapter.b.value, layer.scale, dt_part);
    AccumulateProduct(adapter.b, dy_part, PartOfT(saved.t, layer.rank, i), layer.scale);
  }
  if (dropout.p == 0) {
    // Without dropout dA and dx are one product each, over all P·R columns of dt.
    if (norm_inside) {
      AccumulateNormedProduct(layer.lora_a, dt, input);
    } else {
      AccumulateProduct(layer.lora_a, dt, x);
    }
    if (needs_dx) dx.addmm_(dt, layer.lora_a.value);
    return dx;
  }
  // All adapters write into one gradient: whether that was stale is asked once, before the first,
  // and holds for the rows of every adapter.
  const Onto onto = std::exchange(layer.lora_a.grad_is_stale, false) ? Onto::kNothing : Onto::kSum;
  for (size_t i = 0; i < layer.adapters.size(); ++i) {
    const DropoutMask mask = dropout.Mask(i);
    const at::Tensor dt_part = PartOfT(dt, layer.rank, i);
    AddProduct(PartOfA(layer.lora_a.grad, layer.rank, i), onto, dt_part, Dropped(x, mask));
    if (needs_dx) AddDropped(dx, at::mm(dt_part, PartOfA(layer.lora_a.value, layer.rank, i)), mask);
  }
  return dx;
}

}  // namespace ftd::engine

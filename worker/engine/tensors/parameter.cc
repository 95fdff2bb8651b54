#include "worker/engine/tensors/parameter.h"

#include <ATen/ops/addmm.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>
#include <ATen/ops/zeros_like.h>

#include <algorithm>
#include <utility>

#include "lib/plan/work_sizes.h"

namespace ftd::engine {

void Parameter::MakeTrainable(at::ScalarType dtype) {
  master = value.to(dtype);  // the same tensor when it is of that dtype already
  // Not zeroed: the first product of a step overwrites a stale gradient.
  grad = at::empty_like(master);
  grad_is_stale = true;
  exp_avg = at::zeros_like(master);
  exp_avg_sq = at::zeros_like(master);
}

at::Tensor& Parameter::FreshGrad() {
  if (std::exchange(grad_is_stale, false)) grad.zero_();
  return grad;
}

// sum = (sum or 0) + scale · aᵀ b, in one of four ways that differ in where they round. With beta =
// 0 a product ignores what `sum` held, NaN included.
void AddProduct(const at::Tensor& sum, Onto onto, const at::Tensor& a, const at::Tensor& b,
                double scale) {
  // float32 throughout: one product, nothing rounded in between.
  if (a.scalar_type() == at::kFloat) {
    sum.addmm_(a.t(), b, onto == Onto::kSum ? 1.0 : 0.0, scale);
    return;
  }
  if (sum.is_cuda() && sum.scalar_type() == at::kFloat) {
    // cuBLAS multiplies 16-bit numbers into a float32 sum.
    at::Tensor out = sum;
    at::addmm_out(out, out, a.t(), b, at::kFloat, onto == Onto::kSum ? 1.0 : 0.0, scale);
    return;
  }
  // A 16-bit sum that holds nothing takes the product itself, without a copy beside it.
  if (onto == Onto::kNothing && sum.scalar_type() == a.scalar_type()) {
    at::Tensor out = sum;
    at::mm_out(out, a.t(), b);
    if (scale != 1) out.mul_(scale);
    return;
  }
  // Otherwise the product is made in a's 16 bits and then added: onto a float32 sum on the CPU, or
  // onto a 16-bit sum that holds something, as autograd accumulates into .grad. In slices of rows,
  // which bounds the product's memory.
  for (int64_t begin = 0; begin < sum.size(0); begin += kProductRows) {
    const int64_t rows = std::min(kProductRows, sum.size(0) - begin);
    const at::Tensor part = sum.narrow(0, begin, rows);
    const at::Tensor product = at::mm(a.narrow(1, begin, rows).t(), b);
    if (onto == Onto::kSum) {
      part.add_(product, scale);
    } else {
      part.copy_(product);
      if (scale != 1) part.mul_(scale);
    }
  }
}

void AccumulateProduct(Parameter& parameter, const at::Tensor& a, const at::Tensor& b,
                       double scale) {
  const Onto onto = std::exchange(parameter.grad_is_stale, false) ? Onto::kNothing : Onto::kSum;
  AddProduct(parameter.grad, onto, a, b, scale);
}

}  // namespace ftd::engine

#include "worker/engine/ops/linear/row_product.h"

#include <ATen/Parallel.h>
#include <ATen/ops/empty.h>

#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/dot_products.h"
#include "worker/engine/device/multiversion.h"

namespace ftd::engine {
namespace {

// The compiler makes its versions of functions, not of templates.
FTD_MULTIVERSION void Range(const float* w, const float* x, float* y, int64_t T, int64_t I,
                            int64_t O, int64_t first, int64_t end) {
  cpu::DotProducts(w, x, y, T, I, O, first, end);
}
FTD_MULTIVERSION void Range(const at::BFloat16* w, const float* x, float* y, int64_t T, int64_t I,
                            int64_t O, int64_t first, int64_t end) {
  cpu::DotProducts(w, x, y, T, I, O, first, end);
}

template <typename Weight>
at::Tensor Product(const at::Tensor& x, const at::Tensor& w) {
  const int64_t T = x.size(0), I = x.size(1), O = w.size(0);
  at::Tensor y = at::empty({T, O}, x.options());
  const Weight* w_data = w.const_data_ptr<Weight>();
  const float* x_data = x.const_data_ptr<float>();
  float* y_data = y.mutable_data_ptr<float>();
  at::parallel_for(0, O, cpu::Grain(I), [&](int64_t begin, int64_t end) {
    Range(w_data, x_data, y_data, T, I, O, begin, end);
  });
  return y;
}

}  // namespace

bool TakenByRowProduct(const at::Tensor& x) {
  return x.is_cpu() && x.size(0) <= kRowProductTokens &&
         (x.scalar_type() == at::kFloat || x.scalar_type() == at::kBFloat16);
}

at::Tensor RowProduct(const at::Tensor& x, const at::Tensor& w) {
  if (x.scalar_type() == at::kFloat) return Product<float>(x.contiguous(), w);
  return Product<at::BFloat16>(x.to(at::kFloat).contiguous(), w).to(at::kBFloat16);
}

}  // namespace ftd::engine

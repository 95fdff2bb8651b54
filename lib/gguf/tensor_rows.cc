#include "lib/gguf/tensor_rows.h"

#include <cmath>
#include <cstring>
#include <functional>
#include <numeric>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/gguf/half.h"

namespace ftd::gguf {
namespace {

template <typename T>
T Load(const char* at) {
  T value;
  std::memcpy(&value, at, sizeof value);
  return value;
}

float Apply(Mapping mapping, float value) {
  switch (mapping) {
    case Mapping::kAsIs:
      return value;
    case Mapping::kNormWeight:
      return 1 + value;
    case Mapping::kDecay:
      return -std::exp(value);
  }
  return value;
}

}  // namespace

absl::StatusOr<TensorRows> TensorRows::Open(const PlannedTensor& plan, const TensorView* source) {
  if (plan.source.empty()) {
    const std::string_view bytes(reinterpret_cast<const char*>(plan.values.data()),
                                 plan.values.size() * sizeof(float));
    return TensorRows(plan, {TensorDtype::kF32, {plan.columns}, bytes});
  }
  if (source == nullptr)
    return Error(Reason::kModelCorrupt, Concat("the files lack the tensor ", plan.source));
  const int64_t numbers =
      std::accumulate(source->shape.begin(), source->shape.end(), int64_t{1}, std::multiplies<>());
  if (source->shape.empty() || source->shape.back() != plan.columns ||
      numbers != plan.rows * plan.columns) {
    return Error(Reason::kModelCorrupt,
                 Concat("the tensor ", plan.source, " has another shape than config.json says"));
  }
  using enum TensorDtype;
  if (source->dtype != kF32 && source->dtype != kF16 && source->dtype != kBF16) {
    return Error(Reason::kModelUnsupported, Concat("the tensor ", plan.source, " has the dtype ",
                                                   TensorDtypeName(source->dtype),
                                                   "; a GGUF file is made of F32, F16 and BF16"));
  }
  return TensorRows(plan, *source);
}

float TensorRows::At(int64_t row, int64_t column) const {
  const int64_t place = row * plan_->columns + column;
  if (view_.dtype == TensorDtype::kF32) return Load<float>(view_.data.data() + 4 * place);
  const auto bits = Load<uint16_t>(view_.data.data() + 2 * place);
  return view_.dtype == TensorDtype::kF16 ? FromHalf(bits) : FromBFloat(bits);
}

void TensorRows::Read(int64_t row, float* out) const {
  const int64_t source = plan_->row_order.empty() ? row : plan_->row_order[row];
  for (int64_t column = 0; column < plan_->columns; ++column) {
    const int64_t from = plan_->column_order.empty() ? column : plan_->column_order[column];
    out[column] = Apply(plan_->mapping, At(source, from));
  }
}

void TensorRows::Release() const {
  if (!plan_->source.empty()) ReleasePages(view_.data);
}

}  // namespace ftd::gguf

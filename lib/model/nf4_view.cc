#include "lib/model/nf4_view.h"

#include <optional>

#include "absl/strings/str_cat.h"
#include "lib/base/ceil_div.h"
#include "lib/base/error.h"
#include "lib/base/json.h"

namespace ftd {
namespace {

using Json = nlohmann::json;

constexpr char kState[] = ".quant_state.bitsandbytes__nf4";

// Returns whether the value is a matrix's extent; bounded, so that rows · cols cannot overflow.
bool IsExtent(const Json& json) {
  constexpr int64_t kMost = int64_t{1} << 31;
  return json.is_number_integer() && json.get<int64_t>() >= 1 && json.get<int64_t>() <= kMost;
}

absl::Status CorruptNf4(const std::string& name, const std::string& message) {
  return Error(Reason::kModelCorrupt, absl::StrCat("tensor ", name, ": ", message));
}

// Returns a tensor of `bytes` bytes. Any dtype will do where none is given: bitsandbytes can pack
// codes into other dtypes than uint8 (bnb_4bit_quant_storage).
absl::StatusOr<TensorView> FindPart(const ModelWeights& weights, const std::string& name,
                                    std::optional<TensorDtype> dtype, int64_t bytes) {
  const TensorView* view = weights.Find(name);
  if (view == nullptr) return CorruptNf4(name, "is missing");
  if (dtype.has_value() && view->dtype != *dtype) {
    return CorruptNf4(name, absl::StrCat("has dtype ", std::string(TensorDtypeName(view->dtype)),
                                         ", not ", std::string(TensorDtypeName(*dtype))));
  }
  if (static_cast<int64_t>(view->data.size()) != bytes) {
    return CorruptNf4(name, absl::StrCat("has ", view->data.size(), " bytes, not ", bytes,
                                         " as its quantised weight needs"));
  }
  return *view;
}

// Reads shape and offset from quant_state into `out`; returns whether the scales are quantised.
// bitsandbytes stores that JSON as a uint8 tensor, because safetensors has room for tensors only.
absl::StatusOr<bool> ReadState(const std::string& name, std::string_view text, Nf4View* out) {
  const auto parsed = ParseJsonObject(text);
  if (!parsed.has_value()) return CorruptNf4(name, "is not JSON");
  try {
    const Json& state = *parsed;
    const Json& shape = state.at("shape");
    if (!shape.is_array() || shape.size() != 2 || !IsExtent(shape[0]) || !IsExtent(shape[1]))
      return CorruptNf4(name, absl::StrCat("its shape ", shape.dump(), " is not a matrix's"));
    out->rows = shape[0].get<int64_t>();
    out->cols = shape[1].get<int64_t>();
    const bool nested = state.contains("nested_blocksize");
    if (nested) out->nested_offset = state.at("nested_offset").get<double>();
    if (state.at("blocksize") != kNf4Block ||
        (nested && state["nested_blocksize"] != kNf4NestedBlock)) {
      return Error(Reason::kModelUnsupported,
                   absl::StrCat("tensor ", name, ": NF4 is supported with blocks of ", kNf4Block,
                                " and nested blocks of ", kNf4NestedBlock));
    }
    return nested;
  } catch (const Json::exception& error) {
    return CorruptNf4(name, error.what());
  }
}

}  // namespace

bool IsNf4(const ModelWeights& weights, const std::string& name) {
  return weights.Find(name + kState) != nullptr;
}

absl::StatusOr<Nf4View> FindNf4(const ModelWeights& weights, const std::string& name) {
  const TensorView* state = weights.Find(name + kState);
  if (state == nullptr) return CorruptNf4(name + kState, "is missing");
  Nf4View view;
  FTD_ASSIGN_OR_RETURN(const bool nested, ReadState(name + kState, state->data, &view));
  // Every size follows from the shape, so a file that was cut short or put together from two models
  // is noticed here, and not by a kernel that reads too far.
  const int64_t elements = view.rows * view.cols, blocks = CeilDiv(elements, kNf4Block);
  FTD_ASSIGN_OR_RETURN(view.codes, FindPart(weights, name, std::nullopt, CeilDiv(elements, 2)));
  FTD_ASSIGN_OR_RETURN(view.absmax, FindPart(weights, name + ".absmax",
                                             nested ? TensorDtype::kU8 : TensorDtype::kF32,
                                             nested ? blocks : blocks * 4));
  if (!nested) return view;
  FTD_ASSIGN_OR_RETURN(view.nested_absmax,
                       FindPart(weights, name + ".nested_absmax", TensorDtype::kF32,
                                CeilDiv(blocks, kNf4NestedBlock) * 4));
  FTD_ASSIGN_OR_RETURN(view.nested_map, FindPart(weights, name + ".nested_quant_map",
                                                 TensorDtype::kF32, int64_t{256} * 4));
  return view;
}

}  // namespace ftd

#include "lib/data/rows/arrow_cell.h"

#include <arrow/array.h>
#include <arrow/extension_type.h>
#include <arrow/util/float16.h>

#include <array>
#include <charconv>
#include <cmath>
#include <optional>
#include <string>
#include <string_view>

#include "lib/base/utf8.h"
#include "lib/data/rows/json_cell.h"
#include "lib/data/rows/json_writer.h"
#include "lib/data/rows/row_reader.h"

namespace ftd {
namespace {

using arrow::Type;

template <typename Array>
const Array& As(const arrow::Array& array) {
  return static_cast<const Array&>(array);
}

// A place in an array that is not of dictionary type.
struct Place {
  const arrow::Array* array;
  int64_t i;
};

// Follows dictionaries, which hold what a column repeats (pandas' categories), to the value.
Place Resolve(const arrow::Array& array, int64_t i) {
  Place place{&array, i};
  while (place.array->type_id() == Type::DICTIONARY && place.array->IsValid(place.i)) {
    const auto& dictionary = As<arrow::DictionaryArray>(*place.array);
    place = {dictionary.dictionary().get(), dictionary.GetValueIndex(place.i)};
  }
  return place;
}

std::optional<std::string_view> StringAt(const arrow::Array& array, int64_t i) {
  switch (array.type_id()) {
    case Type::STRING:
      return As<arrow::StringArray>(array).GetView(i);
    case Type::LARGE_STRING:
      return As<arrow::LargeStringArray>(array).GetView(i);
    case Type::STRING_VIEW:
      return As<arrow::StringViewArray>(array).GetView(i);
    default:
      return std::nullopt;
  }
}

template <typename Integers>
std::string Digits(const arrow::Array& array, int64_t i) {
  return std::to_string(As<Integers>(array).Value(i));
}

std::optional<std::string> IntegerAt(const arrow::Array& array, int64_t i) {
  switch (array.type_id()) {
    case Type::INT8:
      return Digits<arrow::Int8Array>(array, i);
    case Type::INT16:
      return Digits<arrow::Int16Array>(array, i);
    case Type::INT32:
      return Digits<arrow::Int32Array>(array, i);
    case Type::INT64:
      return Digits<arrow::Int64Array>(array, i);
    case Type::UINT8:
      return Digits<arrow::UInt8Array>(array, i);
    case Type::UINT16:
      return Digits<arrow::UInt16Array>(array, i);
    case Type::UINT32:
      return Digits<arrow::UInt32Array>(array, i);
    case Type::UINT64:
      return Digits<arrow::UInt64Array>(array, i);
    default:
      return std::nullopt;
  }
}

std::optional<double> FloatAt(const arrow::Array& array, int64_t i) {
  switch (array.type_id()) {
    case Type::HALF_FLOAT:
      return arrow::util::Float16::FromBits(As<arrow::HalfFloatArray>(array).Value(i)).ToDouble();
    case Type::FLOAT:
      return As<arrow::FloatArray>(array).Value(i);
    case Type::DOUBLE:
      return As<arrow::DoubleArray>(array).Value(i);
    default:
      return std::nullopt;
  }
}

// Returns the text of a value of Arrow's type for JSON: `datasets` stores what differs from row to
// row that way, such as the arguments of tool calls.
std::optional<std::string_view> JsonAt(const arrow::Array& array, int64_t i) {
  if (array.type_id() != Type::EXTENSION) return std::nullopt;
  const auto& type = static_cast<const arrow::ExtensionType&>(*array.type());
  if (type.extension_name() != "arrow.json") return std::nullopt;
  return StringAt(*As<arrow::ExtensionArray>(array).storage(), i);
}

// Returns the shortest spelling that reads back as the same double, and as a float: 1.0, not 1.
std::string Spelled(double value) {
  std::array<char, 32> buffer;
  const auto end = std::to_chars(buffer.data(), buffer.data() + buffer.size(), value).ptr;
  std::string spelling(buffer.data(), end);
  if (spelling.find_first_of(".e") == std::string::npos) spelling += ".0";
  return spelling;
}

// Writes values of any nesting. Errors: UNIMPLEMENTED, no JSON stands for the value; OUT_OF_RANGE,
// the text grows too long.
class NestedWriter {
 public:
  explicit NestedWriter(std::string* out) : json_(out) {}

  absl::Status Value(const arrow::Array& any, int64_t index) {
    const auto [array, i] = Resolve(any, index);
    if (array->IsNull(i)) return Literal("null");
    if (const auto text = StringAt(*array, i)) {
      json_.String(*text);
      return absl::OkStatus();
    }
    if (const auto digits = IntegerAt(*array, i)) return Literal(*digits);
    if (const auto value = FloatAt(*array, i))
      return std::isfinite(*value) ? Literal(Spelled(*value)) : absl::UnimplementedError("");
    if (const auto text = JsonAt(*array, i))
      return CopyJson(*text, &json_) ? absl::OkStatus() : absl::UnimplementedError("");
    switch (array->type_id()) {
      case Type::BOOL:
        return Literal(As<arrow::BooleanArray>(*array).Value(i) ? "true" : "false");
      case Type::LIST:
        return List(As<arrow::ListArray>(*array), i);
      case Type::LARGE_LIST:
        return List(As<arrow::LargeListArray>(*array), i);
      case Type::FIXED_SIZE_LIST:
        return List(As<arrow::FixedSizeListArray>(*array), i);
      case Type::STRUCT:
        return Struct(As<arrow::StructArray>(*array), i);
      case Type::MAP:
        return Map(As<arrow::MapArray>(*array), i);
      default:
        return absl::UnimplementedError("");
    }
  }

 private:
  absl::Status Literal(std::string_view spelling) {
    json_.Literal(spelling);
    return absl::OkStatus();
  }

  // Few bytes of a file can stand for a text without end: elements of a dictionary or of no size.
  absl::Status JudgeSize() const {
    if (static_cast<int64_t>(json_.size()) <= kMaxRowBytes) return absl::OkStatus();
    return absl::OutOfRangeError("");
  }

  template <typename Lists>
  absl::Status List(const Lists& lists, int64_t i) {
    const arrow::Array& values = *lists.values();
    const int64_t begin = lists.value_offset(i), end = begin + lists.value_length(i);
    json_.Open('[');
    for (int64_t k = begin; k < end; ++k) {
      FTD_RETURN_IF_ERROR(Value(values, k));
      FTD_RETURN_IF_ERROR(JudgeSize());
    }
    json_.Close(']');
    return absl::OkStatus();
  }

  absl::Status Member(std::string_view name, const arrow::Array& any, int64_t index) {
    const auto [array, i] = Resolve(any, index);
    if (array->IsNull(i)) return absl::OkStatus();
    json_.Key(name);
    return Value(*array, i);
  }

  absl::Status Struct(const arrow::StructArray& structs, int64_t i) {
    const auto& type = static_cast<const arrow::StructType&>(*structs.type());
    json_.Open('{');
    for (int k = 0; k < type.num_fields(); ++k)
      FTD_RETURN_IF_ERROR(Member(type.field(k)->name(), *structs.field(k), i));
    json_.Close('}');
    return absl::OkStatus();
  }

  absl::Status Map(const arrow::MapArray& maps, int64_t i) {
    const arrow::Array &keys = *maps.keys(), &items = *maps.items();
    const int64_t begin = maps.value_offset(i), end = begin + maps.value_length(i);
    json_.Open('{');
    for (int64_t k = begin; k < end; ++k) {
      const auto [key_array, key_i] = Resolve(keys, k);
      const auto key = StringAt(*key_array, key_i);
      if (!key.has_value()) return absl::UnimplementedError("");
      FTD_RETURN_IF_ERROR(Member(*key, items, k));
      FTD_RETURN_IF_ERROR(JudgeSize());
    }
    json_.Close('}');
    return absl::OkStatus();
  }

  JsonWriter json_;
};

bool IsNested(Type::type type) {
  return type == Type::LIST || type == Type::LARGE_LIST || type == Type::FIXED_SIZE_LIST ||
         type == Type::STRUCT || type == Type::MAP;
}

absl::StatusOr<Cell> NestedCell(const arrow::Array& array, int64_t i) {
  Cell cell{.kind = Cell::Kind::kNested};
  const absl::Status written = NestedWriter(&cell.text).Value(array, i);
  if (absl::IsUnimplemented(written)) return Cell{.kind = Cell::Kind::kOther};
  if (!written.ok()) {
    return DatasetInvalid(Concat("is longer than ", kMaxRowBytes >> 20,
                                 " MiB as JSON; one row may not be that long"));
  }
  return cell;
}

absl::StatusOr<Cell> AnyCell(const arrow::Array& any, int64_t index, bool keep_nested) {
  const auto [array, i] = Resolve(any, index);
  if (array->IsNull(i)) return Cell{};
  if (const auto text = StringAt(*array, i))
    return Cell{.kind = Cell::Kind::kText, .text = std::string(*text)};
  if (auto digits = IntegerAt(*array, i))
    return Cell{.kind = Cell::Kind::kInteger, .text = *std::move(digits)};
  if (const auto text = JsonAt(*array, i)) return JsonCell(*text, keep_nested);
  if (!IsNested(array->type_id())) return Cell{.kind = Cell::Kind::kOther};
  if (!keep_nested) return Cell{.kind = Cell::Kind::kNested};
  return NestedCell(*array, i);
}

}  // namespace

// Arrow's validation has seen the strings themselves, but not the names of a struct's members.
absl::StatusOr<Cell> ArrowCell(const arrow::Array& array, int64_t i, bool keep_nested) {
  FTD_ASSIGN_OR_RETURN(Cell cell, AnyCell(array, i, keep_nested));
  if (!IsValidUtf8(cell.text)) return DatasetInvalid("is not UTF-8");
  return cell;
}

}  // namespace ftd

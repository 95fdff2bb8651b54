// object[start:stop:step].
#include <algorithm>
#include <limits>

#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/attributes.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/operators.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {
namespace {

// The elements that a slice takes: `count` of them, from `start` on, `step` apart, before `stop`.
struct Slice {
  int64_t start, stop, step, count;
};

Slice SliceOf(int64_t length, const Value& start, const Value& stop, const Value& step) {
  const auto bound = [&](const Value& value, int64_t otherwise, int64_t low, int64_t high) {
    if (value.Is(Kind::kNone)) return otherwise;
    const int64_t index = ToIndex(value);
    return std::clamp(index < 0 ? index + length : index, low, high);
  };
  int64_t by = step.Is(Kind::kNone) ? 1 : ToIndex(step);
  if (by == 0) Fail("the step of a slice cannot be 0");
  by = std::max(by, -std::numeric_limits<int64_t>::max());
  const int64_t low = by > 0 ? 0 : -1, high = by > 0 ? length : length - 1;
  const int64_t from = bound(start, by > 0 ? 0 : length - 1, low, high);
  const int64_t to = bound(stop, by > 0 ? length : -1, low, high);
  return {from, to, by, RangeObject(from, to, by).length};
}

Value SliceRange(const RangeObject& range, const Slice& slice) {
  const auto at = [&](int64_t index) {
    const __int128 number = range.start + static_cast<__int128>(index) * range.step;
    if (number != static_cast<int64_t>(number)) Fail("the range does not fit into 64 bits");
    return static_cast<int64_t>(number);
  };
  const __int128 step = static_cast<__int128>(slice.step) * range.step;
  if (step != static_cast<int64_t>(step)) Fail("the range does not fit into 64 bits");
  return {Kind::kRange, std::make_shared<RangeObject>(at(slice.start), at(slice.stop),
                                                      static_cast<int64_t>(step))};
}

std::string SliceText(const Value& object, const Slice& slice) {
  if (slice.step == 1) return Substring(object, slice.start, slice.count);
  const std::string& text = object.AsString();
  std::vector<size_t> begins;
  for (size_t pos = 0; pos < text.size(); pos += Utf8Length(static_cast<unsigned char>(text[pos])))
    begins.push_back(pos);
  std::string out;
  for (int64_t i = 0; i < slice.count; ++i) {
    const size_t begin = begins[static_cast<size_t>(slice.start + i * slice.step)];
    out.append(text, begin, Utf8Length(static_cast<unsigned char>(text[begin])));
  }
  return out;
}

}  // namespace

std::string Substring(const Value& object, int64_t begin, int64_t length) {
  const std::string& text = object.AsString();
  if (object.As<StringObject>().IsAscii())
    return text.substr(static_cast<size_t>(begin), static_cast<size_t>(length));
  size_t pos = 0;
  for (int64_t i = 0; i < begin; ++i) pos += Utf8Length(static_cast<unsigned char>(text[pos]));
  const size_t from = pos;
  for (int64_t i = 0; i < length; ++i) pos += Utf8Length(static_cast<unsigned char>(text[pos]));
  return text.substr(from, pos - from);
}

Value GetSlice(Runtime& runtime, const Value& object, const Value& start, const Value& stop,
               const Value& step) {
  if (object.Is(Kind::kUndefined)) FailUndefined(object);
  const bool sliceable = object.Is(Kind::kString) || object.Is(Kind::kList) ||
                         object.Is(Kind::kTuple) || object.Is(Kind::kRange);
  if (!sliceable) Fail(Concat("a ", TypeName(object), " cannot be sliced"));
  const Slice slice = SliceOf(*LengthOf(object), start, stop, step);
  if (object.Is(Kind::kString)) {
    runtime.Allocate(static_cast<uint64_t>(slice.count));
    std::string text = SliceText(object, slice);
    return IsMarkup(object) ? MakeMarkup(std::move(text)) : Value::String(std::move(text));
  }
  if (object.Is(Kind::kRange)) {
    return SliceRange(object.As<RangeObject>(), slice);
  }
  std::vector<Value> items;
  runtime.Allocate(static_cast<uint64_t>(slice.count) * sizeof(Value));
  for (int64_t i = 0; i < slice.count; ++i) {
    items.push_back(
        object.As<ListObject>().items[static_cast<size_t>(slice.start + i * slice.step)]);
  }
  return runtime.Checked(object.Is(Kind::kList) ? Value::List(std::move(items))
                                                : Value::Tuple(std::move(items)));
}

}  // namespace ftd::jinja

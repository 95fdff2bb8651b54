#include "lib/jinja/compare.h"

#include <algorithm>
#include <cmath>

#include "lib/base/concat.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/operators.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/text.h"

namespace ftd::jinja {
namespace {

int Sign(int64_t a, int64_t b) { return a < b ? -1 : a > b ? 1 : 0; }

// Compares exactly: a double has no room for each 64-bit integer.
std::optional<int> OrderOfMixed(int64_t a, double b) {
  if (std::isnan(b)) return std::nullopt;
  if (b >= 0x1p63) return -1;
  if (b < -0x1p63) return 1;
  const auto whole = static_cast<int64_t>(b);
  if (a != whole) return Sign(a, whole);
  const double rest = b - static_cast<double>(whole);
  return rest > 0 ? -1 : rest < 0 ? 1 : 0;
}

std::optional<int> OrderOfNumbers(const Value& a, const Value& b) {
  const bool a_real = a.Is(Kind::kFloat), b_real = b.Is(Kind::kFloat);
  if (!a_real && !b_real) return Sign(a.AsInt(), b.AsInt());
  if (!a_real) return OrderOfMixed(a.AsInt(), b.AsFloat());
  if (!b_real) {
    const auto order = OrderOfMixed(b.AsInt(), a.AsFloat());
    return order ? std::optional<int>(-*order) : std::nullopt;
  }
  if (std::isnan(a.AsFloat()) || std::isnan(b.AsFloat())) return std::nullopt;
  return a.AsFloat() < b.AsFloat() ? -1 : a.AsFloat() > b.AsFloat() ? 1 : 0;
}

bool Same(const Value& a, const Value& b);

bool SameItems(const std::vector<Value>& a, const std::vector<Value>& b) {
  return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), Same);
}

// A view of a range is a sequence: equal when the elements are.
bool SameRange(const RangeObject& a, const RangeObject& b) {
  if (a.length != b.length) return false;
  return a.length == 0 || (a.start == b.start && (a.length == 1 || a.step == b.step));
}

bool SameDict(const DictObject& a, const DictObject& b) {
  if (a.items.size() != b.items.size()) return false;
  return std::all_of(a.items.begin(), a.items.end(), [&](const auto& item) {
    const auto found = b.Find(item.first);
    return found && Same(item.second, b.items[*found].second);
  });
}

bool Same(const Value& a, const Value& b) {
  if (a.identity() != nullptr && a.identity() == b.identity()) return true;
  if (IsNumber(a) && IsNumber(b)) return OrderOfNumbers(a, b) == 0;
  if (a.kind() != b.kind()) return false;
  switch (a.kind()) {
    case Kind::kNone:
    case Kind::kUndefined:
      return true;
    case Kind::kString:
      return a.AsString() == b.AsString();
    case Kind::kList:
    case Kind::kTuple:
      return SameItems(a.As<ListObject>().items, b.As<ListObject>().items);
    case Kind::kDict:
      return SameDict(a.As<DictObject>(), b.As<DictObject>());
    case Kind::kRange:
      return SameRange(a.As<RangeObject>(), b.As<RangeObject>());
    case Kind::kView:
      Fail("comparing the views of dicts is not supported; make them lists first");
    case Kind::kMethod:
      Fail("comparing methods is not supported");
    default:
      return false;
  }
}

std::optional<int> OrderOfLists(Runtime& runtime, const Value& a, const Value& b,
                                const char* sign) {
  const auto &left = a.As<ListObject>().items, &right = b.As<ListObject>().items;
  for (size_t i = 0; i < std::min(left.size(), right.size()); ++i) {
    if (!Same(left[i], right[i])) return Order(runtime, left[i], right[i], sign);
  }
  return Sign(static_cast<int64_t>(left.size()), static_cast<int64_t>(right.size()));
}

void Charge(Runtime& runtime, const Value& a, const Value& b) {
  const Nested *left = NestedOf(a), *right = NestedOf(b);
  if (left != nullptr && right != nullptr) runtime.Step(std::min(left->weight, right->weight));
}

bool TextContains(Runtime& runtime, const std::string& text, const Value& item) {
  if (!item.Is(Kind::kString))
    Fail(Concat("'in <string>' requires a string as its left operand, not ", TypeName(item)));
  runtime.Step(text.size() / 64);
  return text.find(item.AsString()) != std::string::npos;
}

bool RangeContains(const RangeObject& range, const Value& item) {
  int64_t number = 0;
  if (item.Is(Kind::kFloat)) {
    const double real = item.AsFloat();
    if (!(std::floor(real) == real && std::abs(real) < 0x1p62)) return false;
    number = static_cast<int64_t>(real);
  } else if (item.Is(Kind::kInt) || item.Is(Kind::kBool)) {
    number = item.AsInt();
  } else {
    return false;
  }
  const __int128 off = static_cast<__int128>(number) - range.start;
  return off % range.step == 0 && off / range.step >= 0 && off / range.step < range.length;
}

}  // namespace

bool SameKey(const Value& a, const Value& b) { return Same(a, b); }

bool Equals(Runtime& runtime, const Value& a, const Value& b) {
  Charge(runtime, a, b);
  return Same(a, b);
}

std::optional<int> Order(Runtime& runtime, const Value& a, const Value& b, const char* sign) {
  runtime.Step();
  Charge(runtime, a, b);
  if (IsNumber(a) && IsNumber(b)) return OrderOfNumbers(a, b);
  if (a.kind() == b.kind()) {
    if (a.Is(Kind::kString)) return a.AsString().compare(b.AsString());
    if (a.Is(Kind::kList) || a.Is(Kind::kTuple)) return OrderOfLists(runtime, a, b, sign);
  }
  for (const Value& value : {a, b}) {
    if (value.Is(Kind::kUndefined)) FailUndefined(value);
  }
  Fail(Concat("'", sign, "' is not supported between ", TypeName(a), " and ", TypeName(b)));
}

bool Less(Runtime& runtime, const Value& a, const Value& b) {
  const auto order = Order(runtime, a, b, "<");
  return order && *order < 0;
}

bool Contains(Runtime& runtime, const Value& container, const Value& item) {
  switch (container.kind()) {
    case Kind::kString:
      return TextContains(runtime, container.AsString(), item);
    case Kind::kDict:
      return container.As<DictObject>().Find(HashableKey(runtime, item)).has_value();
    case Kind::kRange:
      return RangeContains(container.As<RangeObject>(), item);
    case Kind::kView:
      if (container.As<ViewObject>().part == ViewObject::Part::kKeys)
        return Contains(runtime, container.As<ViewObject>().dict, item);
      break;
    default:
      break;
  }
  const auto iterator = Iterate(runtime, container);
  while (const auto element = iterator->Next(runtime)) {
    if (Equals(runtime, *element, item)) return true;
  }
  return false;
}

}  // namespace ftd::jinja

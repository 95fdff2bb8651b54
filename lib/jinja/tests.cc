#include "lib/jinja/tests.h"

#include <algorithm>
#include <iterator>

#include "lib/jinja/attributes.h"
#include "lib/jinja/compare.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/filters.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/pieces.h"

namespace ftd::jinja {
namespace {

template <Kind kind>
bool IsKind(Runtime&, const Value& input, const Bound&) {
  return input.Is(kind);
}

bool Defined(Runtime&, const Value& input, const Bound&) { return !input.Is(Kind::kUndefined); }

template <bool value>
bool IsBool(Runtime&, const Value& input, const Bound&) {
  return input.Is(Kind::kBool) && input.AsBool() == value;
}

bool IsANumber(Runtime&, const Value& input, const Bound&) { return IsNumber(input); }

bool Callable(Runtime&, const Value& input, const Bound&) { return IsCallable(input); }

bool Escaped(Runtime&, const Value& input, const Bound&) { return IsMarkup(input); }

bool Iterable(Runtime&, const Value& input, const Bound&) {
  switch (input.kind()) {
    case Kind::kString:
    case Kind::kIterator:
    case Kind::kLoop:
      return true;
    default:
      return LengthOf(input).has_value();
  }
}

bool Sequence(Runtime&, const Value& input, const Bound&) {
  return LengthOf(input).has_value() && !input.Is(Kind::kView);
}

bool RemainderIs(Runtime& runtime, const Value& input, const Value& divisor, int64_t rest) {
  return Equals(runtime, Binary(runtime, Op::kMod, input, divisor), Value::Int(rest));
}
bool Odd(Runtime& runtime, const Value& input, const Bound&) {
  return RemainderIs(runtime, input, Value::Int(2), 1);
}
bool Even(Runtime& runtime, const Value& input, const Bound&) {
  return RemainderIs(runtime, input, Value::Int(2), 0);
}
bool DivisibleBy(Runtime& runtime, const Value& input, const Bound& args) {
  return RemainderIs(runtime, input, args[0], 0);
}

template <bool upper>
bool IsCase(Runtime& runtime, const Value& input, const Bound&) {
  return HasOneCase(Str(runtime, input), upper);
}

bool Equal(Runtime& runtime, const Value& input, const Bound& args) {
  return Equals(runtime, input, args[0]);
}
bool NotEqual(Runtime& runtime, const Value& input, const Bound& args) {
  return !Equals(runtime, input, args[0]);
}
bool LessThan(Runtime& runtime, const Value& input, const Bound& args) {
  return Less(runtime, input, args[0]);
}
bool AtMost(Runtime& runtime, const Value& input, const Bound& args) {
  return Order(runtime, input, args[0], "<=").value_or(1) <= 0;
}
bool GreaterThan(Runtime& runtime, const Value& input, const Bound& args) {
  return Order(runtime, input, args[0], ">").value_or(0) > 0;
}
bool AtLeast(Runtime& runtime, const Value& input, const Bound& args) {
  return Order(runtime, input, args[0], ">=").value_or(-1) >= 0;
}
bool In(Runtime& runtime, const Value& input, const Bound& args) {
  return Contains(runtime, args[0], input);
}

// Python decides whether equal strings, floats and large integers are one object by what it has
// cached; no template can mean that.
bool SameAs(Runtime& runtime, const Value& input, const Bound& args) {
  constexpr int64_t kLeastCached = -5, kMostCached = 256;
  const Value& other = args[0];
  if (input.kind() != other.kind()) return false;
  if (input.Is(Kind::kNone)) return true;
  if (input.Is(Kind::kBool)) return input.AsBool() == other.AsBool();
  if (input.identity() != nullptr && input.identity() == other.identity()) return true;
  const bool scalar = input.Is(Kind::kInt) || input.Is(Kind::kFloat) || input.Is(Kind::kString);
  const bool empty = input.Is(Kind::kTuple) && LengthOf(input) == 0;
  if (!scalar && !empty) return false;
  if (!Equals(runtime, input, other)) return false;
  if (empty) return true;
  if (!input.Is(Kind::kInt) || input.AsInt() < kLeastCached || input.AsInt() > kMostCached)
    Fail("whether equal strings or numbers are the same object is not defined; compare with ==");
  return true;
}

bool IsFilter(Runtime& runtime, const Value& input, const Bound&) {
  HashableKey(runtime, input);
  return input.Is(Kind::kString) &&
         (FilterNamed(input.AsString()) != nullptr || IsRefusedFilter(input.AsString()));
}
bool IsTest(Runtime& runtime, const Value& input, const Bound&) {
  HashableKey(runtime, input);
  return input.Is(Kind::kString) && TestNamed(input.AsString()) != nullptr;
}

// Sorted by name.
constexpr TestRow kTests[] = {
    {"!=", {"other", 1, false}, NotEqual},
    {"<", {"other", 1, false}, LessThan},
    {"<=", {"other", 1, false}, AtMost},
    {"==", {"other", 1, false}, Equal},
    {">", {"other", 1, false}, GreaterThan},
    {">=", {"other", 1, false}, AtLeast},
    {"boolean", {""}, IsKind<Kind::kBool>},
    {"callable", {""}, Callable},
    {"defined", {""}, Defined},
    {"divisibleby", {"num", 1}, DivisibleBy},
    {"eq", {"other", 1, false}, Equal},
    {"equalto", {"other", 1, false}, Equal},
    {"escaped", {""}, Escaped},
    {"even", {""}, Even},
    {"false", {""}, IsBool<false>},
    {"filter", {""}, IsFilter},
    {"float", {""}, IsKind<Kind::kFloat>},
    {"ge", {"other", 1, false}, AtLeast},
    {"greaterthan", {"other", 1, false}, GreaterThan},
    {"gt", {"other", 1, false}, GreaterThan},
    {"in", {"seq", 1}, In},
    {"integer", {""}, IsKind<Kind::kInt>},
    {"iterable", {""}, Iterable},
    {"le", {"other", 1, false}, AtMost},
    {"lessthan", {"other", 1, false}, LessThan},
    {"lower", {""}, IsCase<false>},
    {"lt", {"other", 1, false}, LessThan},
    {"mapping", {""}, IsKind<Kind::kDict>},
    {"ne", {"other", 1, false}, NotEqual},
    {"none", {""}, IsKind<Kind::kNone>},
    {"number", {""}, IsANumber},
    {"odd", {""}, Odd},
    {"sameas", {"other", 1}, SameAs},
    {"sequence", {""}, Sequence},
    {"string", {""}, IsKind<Kind::kString>},
    {"test", {""}, IsTest},
    {"true", {""}, IsBool<true>},
    {"undefined", {""}, IsKind<Kind::kUndefined>},
    {"upper", {""}, IsCase<true>},
};

}  // namespace

const TestRow* TestNamed(std::string_view name) {
  const auto* found =
      std::lower_bound(std::begin(kTests), std::end(kTests), name,
                       [](const TestRow& row, std::string_view key) { return row.name < key; });
  return found != std::end(kTests) && found->name == name ? found : nullptr;
}

bool CallTest(Runtime& runtime, const TestRow& row, const Value& input, const Args& args) {
  runtime.Step();
  return row.call(runtime, input, Bound(runtime, row.name, row.signature, args));
}

}  // namespace ftd::jinja

#include "lib/jinja/methods.h"

#include <algorithm>
#include <cmath>

#include "lib/base/concat.h"
#include "lib/jinja/compare.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/functions.h"
#include "lib/jinja/objects.h"

namespace ftd::jinja {
namespace {

using Part = ViewObject::Part;

template <Part part>
Value View(Runtime& runtime, const Value& self, const Bound&) {
  auto view = std::make_shared<ViewObject>();
  view->dict = self;
  view->part = part;
  view->Include(self);
  return runtime.Checked({Kind::kView, std::move(view)});
}

Value Get(Runtime& runtime, const Value& self, const Bound& args) {
  const auto& dict = self.As<DictObject>();
  const auto found = dict.Find(HashableKey(runtime, args[0]));
  return found ? dict.items[*found].second : args.Or(1, Value());
}

Value CopyDict(Runtime& runtime, const Value& self, const Bound&) {
  return runtime.Dict(self.As<DictObject>().items);
}

Value CopyList(Runtime& runtime, const Value& self, const Bound&) {
  return runtime.List(self.As<ListObject>().items);
}

Value FromKeys(Runtime& runtime, const Value&, const Bound& args) {
  std::vector<std::pair<Value, Value>> items;
  for (Value& key : ToVector(runtime, args[0])) {
    HashableKey(runtime, key);
    items.emplace_back(std::move(key), args.Or(1, Value()));
  }
  return runtime.Dict(std::move(items));
}

Value Count(Runtime& runtime, const Value& self, const Bound& args) {
  int64_t count = 0;
  for (const Value& item : ToVector(runtime, self)) count += Equals(runtime, item, args[0]) ? 1 : 0;
  return Value::Int(count);
}

Value Index(Runtime& runtime, const Value& self, const Bound& args) {
  const std::vector<Value> items = ToVector(runtime, self);
  const auto length = static_cast<int64_t>(items.size());
  const auto bound = [&](size_t i, int64_t otherwise) {
    const int64_t index = args.IntegerOr(i, otherwise);
    return std::clamp<int64_t>(index < 0 ? index + length : index, 0, length);
  };
  for (int64_t i = bound(1, 0); i < bound(2, length); ++i) {
    if (Equals(runtime, items[static_cast<size_t>(i)], args[0])) return Value::Int(i);
  }
  Fail("the value is not in the sequence");
}

Value IsWhole(Runtime&, const Value& self, const Bound&) {
  return Value::Bool(std::floor(self.AsFloat()) == self.AsFloat() && std::isfinite(self.AsFloat()));
}

Value Conjugate(Runtime&, const Value& self, const Bound&) { return Plus(self); }

Value BitLength(Runtime&, const Value& self, const Bound&) {
  const int64_t number = self.AsInt();
  uint64_t magnitude =
      number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
  int64_t bits = 0;
  for (; magnitude > 0; magnitude >>= 1) ++bits;
  return Value::Int(bits);
}

Value Cycle(Runtime&, const Value& self, const Args& args) {
  if (!args.named.empty()) Fail("loop.cycle takes no named arguments");
  if (args.positional.empty()) Fail("loop.cycle needs an item");
  const auto index = static_cast<uint64_t>(self.As<LoopObject>().index0);
  return args.positional[index % args.positional.size()];
}

Value Changed(Runtime& runtime, const Value& self, const Args& args) {
  if (!args.named.empty()) Fail("loop.changed takes no named arguments");
  auto& loop = self.Mutable<LoopObject>();
  Value values = runtime.Tuple(args.positional);
  if (loop.last_changed && Equals(runtime, *loop.last_changed, values)) return Value::Bool(false);
  if (!loop.last_changed) runtime.Keep(self);
  loop.last_changed = std::move(values);
  return Value::Bool(true);
}

Value NextOfCycler(Runtime&, const Value& self, const Bound&) {
  auto& cycler = self.Mutable<CyclerObject>();
  Value item = cycler.items[cycler.position];
  cycler.position = (cycler.position + 1) % cycler.items.size();
  return item;
}

Value ResetCycler(Runtime&, const Value& self, const Bound&) {
  self.Mutable<CyclerObject>().position = 0;
  return {};
}

// Each sorted by name. Methods without a function exist in Python and are refused here.
constexpr MethodRow kDictMethods[] = {
    {"copy", {"", 0, false}, CopyDict},
    {"fromkeys", {"iterable value", 1, false}, FromKeys},
    {"get", {"key default", 1, false}, Get},
    {"items", {"", 0, false}, View<Part::kItems>},
    {"keys", {"", 0, false}, View<Part::kKeys>},
    {"values", {"", 0, false}, View<Part::kValues>},
};
constexpr MethodRow kListMethods[] = {
    {"copy", {"", 0, false}, CopyList},
    {"count", {"value", 1, false}, Count},
    {"index", {"value start stop", 1, false}, Index},
};
constexpr MethodRow kTupleMethods[] = {
    {"count", {"value", 1, false}, Count},
    {"index", {"value start stop", 1, false}, Index},
};
constexpr MethodRow kRangeMethods[] = {
    {"count", {"value", 1, false}, Count},
    {"index", {"value", 1, false}, Index},
};
constexpr MethodRow kIntMethods[] = {
    {"as_integer_ratio", {""}, nullptr}, {"bit_count", {""}, nullptr},
    {"bit_length", {""}, BitLength},     {"conjugate", {""}, Conjugate},
    {"from_bytes", {""}, nullptr},       {"to_bytes", {""}, nullptr},
};
constexpr MethodRow kFloatMethods[] = {
    {"as_integer_ratio", {""}, nullptr}, {"conjugate", {""}, Conjugate},
    {"fromhex", {""}, nullptr},          {"hex", {""}, nullptr},
    {"is_integer", {""}, IsWhole},
};
constexpr MethodRow kViewMethods[] = {{"isdisjoint", {""}, nullptr}, {"mapping", {""}, nullptr}};
constexpr MethodRow kIteratorMethods[] = {
    {"close", {""}, nullptr}, {"send", {""}, nullptr}, {"throw", {""}, nullptr}};
constexpr MethodRow kLoopMethods[] = {
    {"changed", {""}, nullptr, Changed},
    {"cycle", {""}, nullptr, Cycle},
};
constexpr MethodRow kCyclerMethods[] = {
    {"next", {""}, NextOfCycler},
    {"reset", {""}, ResetCycler},
};

std::span<const MethodRow> MethodsOf(Kind kind) {
  switch (kind) {
    case Kind::kString:
      return TextMethods();
    case Kind::kDict:
      return kDictMethods;
    case Kind::kList:
      return kListMethods;
    case Kind::kTuple:
      return kTupleMethods;
    case Kind::kRange:
      return kRangeMethods;
    case Kind::kBool:
    case Kind::kInt:
      return kIntMethods;
    case Kind::kFloat:
      return kFloatMethods;
    case Kind::kView:
      return kViewMethods;
    case Kind::kIterator:
      return kIteratorMethods;
    case Kind::kLoop:
      return kLoopMethods;
    case Kind::kCycler:
      return kCyclerMethods;
    default:
      return {};
  }
}

// What is made from a text marked safe is marked safe.
Value Marked(Runtime& runtime, const Value& result) {
  if (result.Is(Kind::kString)) return MakeMarkup(result.AsString());
  if (!result.Is(Kind::kList) && !result.Is(Kind::kTuple)) return result;
  std::vector<Value> items;
  for (const Value& item : result.As<ListObject>().items) items.push_back(Marked(runtime, item));
  return result.Is(Kind::kList) ? runtime.List(std::move(items)) : runtime.Tuple(std::move(items));
}

}  // namespace

const MethodRow* FindMethod(const Value& self, std::string_view name) {
  const std::span<const MethodRow> rows = MethodsOf(self.kind());
  const auto found =
      std::lower_bound(rows.begin(), rows.end(), name,
                       [](const MethodRow& row, std::string_view key) { return row.name < key; });
  return found != rows.end() && found->name == name ? &*found : nullptr;
}

Value CallMethod(Runtime& runtime, const Value& self, const MethodRow& row, const Args& args) {
  if (row.call_any != nullptr) return row.call_any(runtime, self, args);
  if (row.call == nullptr)
    Fail(Concat("the method '", row.name, "' of a ", TypeName(self), " is not supported"));
  Value result = row.call(runtime, self, Bound(runtime, row.name, row.signature, args));
  return IsMarkup(self) ? Marked(runtime, result) : result;
}

}  // namespace ftd::jinja

// Filters that take a whole sequence.
#include <algorithm>
#include <numeric>

#include "lib/base/concat.h"
#include "lib/jinja/attribute_path.h"
#include "lib/jinja/attributes.h"
#include "lib/jinja/compare.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/filters.h"
#include "lib/jinja/literals.h"
#include "lib/jinja/objects.h"
#include "lib/jinja/unicode.h"

namespace ftd::jinja {
namespace {

// Sorts by keys, one for each item. Equal ones stay in order, also when reversed.
std::vector<Value> SortedBy(Runtime& runtime, const std::vector<Value>& items,
                            const std::vector<Value>& keys, bool reverse) {
  std::vector<size_t> order(items.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) {
    return reverse ? Less(runtime, keys[b], keys[a]) : Less(runtime, keys[a], keys[b]);
  });
  std::vector<Value> sorted;
  sorted.reserve(items.size());
  for (const size_t i : order) sorted.push_back(items[i]);
  return sorted;
}

// "a,b" are two attributes: the key is a list of both.
std::vector<AttributePath> PathsOf(Runtime& runtime, const Value& attribute) {
  std::vector<AttributePath> paths;
  if (!attribute.Is(Kind::kString)) return {AttributePath(runtime, attribute)};
  const std::string& text = attribute.AsString();
  for (size_t pos = 0; pos <= text.size();) {
    const size_t comma = std::min(text.find(',', pos), text.size());
    paths.emplace_back(runtime, runtime.Text(text.substr(pos, comma - pos)));
    pos = comma + 1;
  }
  return paths;
}

Value Extreme(Runtime& runtime, const Value& input, const Bound& args, bool largest) {
  const bool case_sensitive = args.FlagOr(0, false);
  const AttributePath path(runtime, args.Or(1, Value()));
  const auto iterator = Iterate(runtime, input);
  std::optional<Value> best;
  Value best_key;
  while (auto item = iterator->Next(runtime)) {
    Value key = KeyOf(runtime, path.Follow(runtime, *item), case_sensitive);
    const bool better = !best || (largest ? Order(runtime, key, best_key, ">").value_or(0) > 0
                                          : Less(runtime, key, best_key));
    if (!better) continue;
    best = std::move(item);
    best_key = std::move(key);
  }
  return best ? *best : Undefined("the sequence is empty");
}

}  // namespace

AttributePath::AttributePath(Runtime& runtime, const Value& attribute) {
  if (attribute.Is(Kind::kNone) || attribute.Is(Kind::kMissing)) return;
  if (!attribute.Is(Kind::kString)) {
    parts_.push_back(attribute);
    return;
  }
  const std::string& text = attribute.AsString();
  for (size_t pos = 0; pos <= text.size();) {
    const size_t dot = std::min(text.find('.', pos), text.size());
    const std::string part = text.substr(pos, dot - pos);
    pos = dot + 1;
    if (part.empty() || !AllPoints(part, IsDigit)) {
      parts_.push_back(runtime.Text(part));
      continue;
    }
    int64_t index = 0;
    if (ParseInt(part, 10, &index) != ParseResult::kOk) Fail("an attribute is not a valid index");
    parts_.push_back(Value::Int(index));
  }
}

Value AttributePath::Follow(Runtime& runtime, Value value, const Value* otherwise) const {
  for (const Value& part : parts_) {
    value = GetItem(runtime, value, part);
    if (otherwise != nullptr && !otherwise->Is(Kind::kNone) && value.Is(Kind::kUndefined))
      value = *otherwise;
  }
  return value;
}

Value KeyOf(Runtime& runtime, const Value& value, bool case_sensitive) {
  if (case_sensitive || !value.Is(Kind::kString)) return value;
  return runtime.Text(ToLower(value.AsString()));
}

Value Length(Runtime& runtime, const Value& input, const Bound&) {
  if (input.Is(Kind::kLoop)) return GetAttribute(runtime, input, "length");
  const auto length = LengthOf(input);
  if (!length) Fail(Concat("a ", TypeName(input), " has no length"));
  return Value::Int(*length);
}

Value ListOf(Runtime& runtime, const Value& input, const Bound&) {
  return runtime.Checked(Value::List(ToVector(runtime, input)));
}

Value First(Runtime& runtime, const Value& input, const Bound&) {
  const auto first = Iterate(runtime, input)->Next(runtime);
  return first ? *first : Undefined("the sequence is empty");
}

Value Last(Runtime& runtime, const Value& input, const Bound&) {
  if (!LengthOf(input)) Fail(Concat("a ", TypeName(input), " has no last element"));
  if (input.Is(Kind::kString) && !input.AsString().empty())
    return GetItem(runtime, runtime.Text(input.AsString()), Value::Int(-1));
  const std::vector<Value> items = ToVector(runtime, input);
  return items.empty() ? Undefined("the sequence is empty") : items.back();
}

Value JoinTexts(Runtime& runtime, const Value& input, const Bound& args) {
  const std::string separator = Str(runtime, args.Or(0, Value::String("")));
  const AttributePath path(runtime, args.Or(1, Value()));
  std::string joined;
  bool first = true;
  const auto iterator = Iterate(runtime, input);
  while (auto item = iterator->Next(runtime)) {
    const size_t before = joined.size();
    if (!std::exchange(first, false)) joined.append(separator);
    joined.append(Str(runtime, path.Follow(runtime, *std::move(item))));
    runtime.Allocate(joined.size() - before);
  }
  return Value::String(std::move(joined));
}

Value Sort(Runtime& runtime, const Value& input, const Bound& args) {
  const bool case_sensitive = args.FlagOr(1, false);
  const std::vector<AttributePath> paths = PathsOf(runtime, args.Or(2, Value()));
  const std::vector<Value> items = ToVector(runtime, input);
  std::vector<Value> keys;
  keys.reserve(items.size());
  for (const Value& item : items) {
    std::vector<Value> key;
    key.reserve(paths.size());
    for (const AttributePath& path : paths)
      key.push_back(KeyOf(runtime, path.Follow(runtime, item), case_sensitive));
    keys.push_back(runtime.List(std::move(key)));
  }
  return runtime.List(SortedBy(runtime, items, keys, args.FlagOr(0, false)));
}

Value DictSort(Runtime& runtime, const Value& input, const Bound& args) {
  if (input.Is(Kind::kUndefined)) FailUndefined(input);
  if (!input.Is(Kind::kDict)) Fail(Concat("dictsort needs a dict, not a ", TypeName(input)));
  const std::string by = args.Has(1) ? args.Text(1) : "key";
  if (by != "key" && by != "value") Fail("dictsort sorts by key or by value");
  std::vector<Value> items, keys;
  for (const auto& [key, value] : input.As<DictObject>().items) {
    items.push_back(runtime.Tuple({key, value}));
    keys.push_back(KeyOf(runtime, by == "key" ? key : value, args.FlagOr(0, false)));
  }
  return runtime.List(SortedBy(runtime, items, keys, args.FlagOr(2, false)));
}

Value GroupBy(Runtime& runtime, const Value& input, const Bound& args) {
  const AttributePath path(runtime, args[0]);
  const Value otherwise = args.Or(1, Value());
  const bool case_sensitive = args.FlagOr(2, false);
  const std::vector<Value> items = ToVector(runtime, input);
  const auto key_of = [&](const Value& item) {
    return KeyOf(runtime, path.Follow(runtime, item, &otherwise), case_sensitive);
  };
  std::vector<Value> keys;
  keys.reserve(items.size());
  for (const Value& item : items) keys.push_back(key_of(item));
  const std::vector<Value> sorted = SortedBy(runtime, items, keys, false);
  std::vector<Value> groups;
  for (size_t begin = 0; begin < sorted.size();) {
    const Value key = key_of(sorted[begin]);
    size_t end = begin + 1;
    while (end < sorted.size() && Equals(runtime, key_of(sorted[end]), key)) ++end;
    const auto at = [&](size_t i) { return sorted.begin() + static_cast<ptrdiff_t>(i); };
    const Value shown = case_sensitive ? key : path.Follow(runtime, sorted[begin], &otherwise);
    const Value pair = runtime.Tuple({shown, runtime.List(std::vector<Value>(at(begin), at(end)))});
    pair.Mutable<ListObject>().group = true;
    groups.push_back(pair);
    begin = end;
  }
  return runtime.List(std::move(groups));
}

Value Smallest(Runtime& runtime, const Value& input, const Bound& args) {
  return Extreme(runtime, input, args, false);
}
Value Largest(Runtime& runtime, const Value& input, const Bound& args) {
  return Extreme(runtime, input, args, true);
}

Value Sum(Runtime& runtime, const Value& input, const Bound& args) {
  const AttributePath path(runtime, args.Or(0, Value()));
  Value sum = args.Or(1, Value::Int(0));
  if (sum.Is(Kind::kString)) Fail("sum does not add texts; join does");
  const auto iterator = Iterate(runtime, input);
  while (auto item = iterator->Next(runtime))
    sum = Binary(runtime, Op::kAdd, sum, path.Follow(runtime, *std::move(item)));
  return sum;
}

}  // namespace ftd::jinja

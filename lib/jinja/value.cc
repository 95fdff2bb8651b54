#include "lib/jinja/value.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "lib/base/utf8.h"
#include "lib/jinja/compare.h"
#include "lib/jinja/objects.h"

namespace ftd::jinja {
namespace {

constexpr size_t kSmallDict = 8;

Value MakeSequence(Kind kind, std::vector<Value> items) {
  auto list = std::make_shared<ListObject>();
  for (const Value& item : items) list->Include(item);
  list->items = std::move(items);
  return {kind, std::move(list)};
}

uint64_t Mixed(uint64_t hash) {
  hash ^= hash >> 33;
  hash *= 0xFF51AFD7ED558CCDull;
  return hash ^ (hash >> 33);
}

// Equal numbers have one hash, whatever their type.
uint64_t HashOfNumber(double real) {
  if (std::floor(real) == real && real >= -0x1p63 && real < 0x1p63)
    return Mixed(static_cast<uint64_t>(static_cast<int64_t>(real)));
  return Mixed(std::hash<double>()(real) + 1);
}

}  // namespace

Value Value::Bool(bool value) {
  Value result(Kind::kBool, nullptr);
  result.number_.integer = value ? 1 : 0;
  return result;
}

Value Value::Int(int64_t value) {
  Value result(Kind::kInt, nullptr);
  result.number_.integer = value;
  return result;
}

Value Value::Float(double value) {
  Value result(Kind::kFloat, nullptr);
  result.number_.real = value;
  return result;
}

Value Value::String(std::string text) {
  return {Kind::kString, std::make_shared<StringObject>(std::move(text), false)};
}

Value Value::List(std::vector<Value> items) { return MakeSequence(Kind::kList, std::move(items)); }
Value Value::Tuple(std::vector<Value> items) {
  return MakeSequence(Kind::kTuple, std::move(items));
}

Value Value::Dict(std::vector<std::pair<Value, Value>> items) {
  auto dict = std::make_shared<DictObject>();
  dict->items = std::move(items);
  dict->Index();
  for (const auto& [key, value] : dict->items) {
    dict->Include(key);
    dict->Include(value);
  }
  return {Kind::kDict, std::move(dict)};
}

const Value* Value::Find(std::string_view key) const {
  const auto& dict = As<DictObject>();
  const auto found = dict.Find(key);
  return found ? &dict.items[*found].second : nullptr;
}

const std::vector<Value>& Value::Items() const { return As<ListObject>().items; }
const std::vector<std::pair<Value, Value>>& Value::Members() const {
  return As<DictObject>().items;
}

const std::string& Value::AsString() const { return As<StringObject>().text; }

int64_t StringObject::Length() const {
  int64_t length = length_.load(std::memory_order_relaxed);
  if (length >= 0) return length;
  length = CountCodePoints(text);
  length_.store(length, std::memory_order_relaxed);
  return length;
}

// Python refuses a step of 0 before it comes here. The length is exact in 128 bits.
RangeObject::RangeObject(int64_t start, int64_t stop, int64_t step)
    : start(start), stop(stop), step(step) {
  const __int128 span =
      step > 0 ? static_cast<__int128>(stop) - start : static_cast<__int128>(start) - stop;
  const __int128 stride = step > 0 ? step : -static_cast<__int128>(step);
  const __int128 count = span <= 0 ? 0 : (span + stride - 1) / stride;
  length = count > std::numeric_limits<int64_t>::max() ? std::numeric_limits<int64_t>::max()
                                                       : static_cast<int64_t>(count);
}

void Nested::Include(const Value& element) {
  constexpr uint64_t kMost = std::numeric_limits<uint64_t>::max();
  const Nested* nested = NestedOf(element);
  const uint64_t more = nested == nullptr ? 1 : nested->weight;
  if (nested != nullptr) depth = std::max(depth, nested->depth + 1);
  weight = more > kMost - weight ? kMost : weight + more;
}

const Nested* NestedOf(const Value& value) {
  switch (value.kind()) {
    case Kind::kList:
    case Kind::kTuple:
    case Kind::kDict:
    case Kind::kView:
    case Kind::kIterator:
    case Kind::kLoop:
    case Kind::kMethod:
    case Kind::kCycler:
      return &value.As<Nested>();
    default:
      return nullptr;
  }
}

std::optional<uint64_t> HashOf(const Value& key) {
  switch (key.kind()) {
    case Kind::kBool:
    case Kind::kInt:
      return Mixed(static_cast<uint64_t>(key.AsInt()));
    case Kind::kFloat:
      return HashOfNumber(key.AsFloat());
    case Kind::kString:
      return std::hash<std::string_view>()(key.AsString());
    case Kind::kTuple: {
      uint64_t hash = 17;
      for (const Value& item : key.As<ListObject>().items) {
        const auto part = HashOf(item);
        if (!part) return std::nullopt;
        hash = Mixed(hash * 31 + *part);
      }
      return hash;
    }
    case Kind::kNone:
      return 1;
    case Kind::kUndefined:
      return 2;
    case Kind::kMacro:
    case Kind::kMethod:
    case Kind::kFunction:
    case Kind::kNamespace:
    case Kind::kIterator:
    case Kind::kLoop:
    case Kind::kCycler:
    case Kind::kJoiner:
      return Mixed(reinterpret_cast<uintptr_t>(key.identity()));
    default:
      return std::nullopt;
  }
}

std::optional<size_t> DictObject::FindHashed(uint64_t hash, const Value& key) const {
  auto it = std::lower_bound(by_hash_.begin(), by_hash_.end(), std::pair(hash, uint32_t{0}));
  for (; it != by_hash_.end() && it->first == hash; ++it) {
    if (SameKey(items[it->second].first, key)) return it->second;
  }
  return std::nullopt;
}

std::optional<size_t> DictObject::Find(const Value& key) const {
  if (key.Is(Kind::kString)) return Find(std::string_view(key.AsString()));
  if (!by_hash_.empty()) return FindHashed(*HashOf(key), key);
  for (size_t i = 0; i < items.size(); ++i) {
    if (SameKey(items[i].first, key)) return i;
  }
  return std::nullopt;
}

std::optional<size_t> DictObject::Find(std::string_view key) const {
  const auto is_key = [&](size_t i) {
    return items[i].first.Is(Kind::kString) && items[i].first.AsString() == key;
  };
  if (by_hash_.empty()) {
    for (size_t i = 0; i < items.size(); ++i) {
      if (is_key(i)) return i;
    }
    return std::nullopt;
  }
  const uint64_t hash = std::hash<std::string_view>()(key);
  auto it = std::lower_bound(by_hash_.begin(), by_hash_.end(), std::pair(hash, uint32_t{0}));
  for (; it != by_hash_.end() && it->first == hash; ++it) {
    if (is_key(it->second)) return it->second;
  }
  return std::nullopt;
}

// Of equal keys, the first keeps its place and gets the last's value.
void DictObject::Index() {
  by_hash_.clear();
  if (items.size() <= kSmallDict) {
    for (size_t i = 1; i < items.size(); ++i) {
      size_t first = 0;
      while (first < i && !SameKey(items[first].first, items[i].first)) ++first;
      if (first == i) continue;
      items[first].second = std::move(items[i].second);
      items.erase(items.begin() + static_cast<ptrdiff_t>(i--));
    }
    return;
  }
  std::vector<std::pair<uint64_t, uint32_t>> hashes;
  hashes.reserve(items.size());
  for (size_t i = 0; i < items.size(); ++i)
    hashes.emplace_back(*HashOf(items[i].first), static_cast<uint32_t>(i));
  std::sort(hashes.begin(), hashes.end());
  std::vector<bool> gone(items.size());
  for (size_t i = 0; i < hashes.size(); ++i) {
    for (size_t j = i; j-- > 0 && hashes[j].first == hashes[i].first;) {
      const uint32_t first = hashes[j].second, again = hashes[i].second;
      if (gone[first] || !SameKey(items[first].first, items[again].first)) continue;
      items[first].second = std::move(items[again].second);
      gone[again] = true;
      break;
    }
  }
  if (std::find(gone.begin(), gone.end(), true) == gone.end()) {
    by_hash_ = std::move(hashes);
    return;
  }
  std::vector<std::pair<Value, Value>> kept;
  for (size_t i = 0; i < items.size(); ++i) {
    if (!gone[i]) kept.push_back(std::move(items[i]));
  }
  items = std::move(kept);
  Index();
}

}  // namespace ftd::jinja

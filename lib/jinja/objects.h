// What values share: strings, containers, and the objects of a running template.
#pragma once

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "lib/jinja/value.h"

namespace ftd::jinja {

class Runtime;
struct Args;
struct Activation;
struct Function;
struct MethodRow;

struct StringObject : Object {
  StringObject(std::string text, bool markup) : text(std::move(text)), markup(markup) {}
  // Returns the number of code points, counted once.
  int64_t Length() const;
  bool IsAscii() const { return Length() == static_cast<int64_t>(text.size()); }

  const std::string text;
  // MarkupSafe's Markup, which `safe` and `escape` make: it escapes what is added to it.
  const bool markup;

 private:
  mutable std::atomic<int64_t> length_{-1};
};

// Why a value is undefined. The message of the error that its use raises is made when it is raised:
// most are only asked whether they are defined.
struct UndefinedObject : Object {
  enum class Why : uint8_t { kMessage, kName, kAttribute, kItem, kUnsafe };
  UndefinedObject(Why why, std::string text, Kind of = Kind::kNone)
      : why(why), of(of), text(std::move(text)) {}
  std::string Message() const;

  const Why why;
  const Kind of;           // the kind of value that lacks it
  const std::string text;  // the message, or what is missing
};

// What holds values. A walk over all that is inside visits `weight` values, however often one of
// them is shared, and recurses `depth` times, so that both are bounded before it begins.
struct Nested : Object {
  void Include(const Value& element);
  int depth = 1;        // 1 more than the deepest element's
  uint64_t weight = 1;  // 1 more than all elements' together
};

struct ListObject : Nested {  // a list or a tuple
  std::vector<Value> items;
  bool group = false;  // a tuple of groupby, which has the attributes grouper and list
};

struct DictObject : Nested {
  // Returns the position of a key, or nullopt. Requires: hashable.
  std::optional<size_t> Find(const Value& key) const;
  std::optional<size_t> Find(std::string_view key) const;
  // Sorts the hashes. To be called once, after all items are in their places.
  void Index();

  std::vector<std::pair<Value, Value>> items;

 private:
  std::optional<size_t> FindHashed(uint64_t hash, const Value& key) const;
  std::vector<std::pair<uint64_t, uint32_t>> by_hash_;  // empty for a small dict
};

struct RangeObject : Object {
  RangeObject(int64_t start, int64_t stop, int64_t step);
  int64_t At(int64_t index) const {
    return static_cast<int64_t>(start + static_cast<__int128>(index) * step);
  }
  const int64_t start, stop, step;
  int64_t length;
};

struct ViewObject : Nested {
  enum class Part { kKeys, kValues, kItems };
  Value dict;
  Part part;
};

// Elements that are computed when they are asked for, and given once.
class IteratorObject : public Nested {
 public:
  // Returns the next element; nullopt after the last. Errors are thrown.
  virtual std::optional<Value> Next(Runtime& runtime) = 0;
};

struct NamespaceObject : Object {
  std::vector<std::pair<std::string, Value>> items;
};

// The variable `loop` of a for loop.
struct LoopObject : Nested {
  Value iterable;
  std::shared_ptr<IteratorObject> iterator;
  int64_t index0 = -1;
  int depth0 = 0;
  std::optional<int64_t> length;
  std::optional<Value> after;  // peeked
  bool ended = false;
  Value current = Value::Missing(), before = Value::Missing();
  std::optional<Value> last_changed;
  std::function<Value(const Value& iterable, int depth0)> recurse;  // empty unless `recursive`
};

struct MacroObject : Object {
  const Function* function = nullptr;
  std::shared_ptr<Activation> closure;
};

// A method of a value, not yet called.
struct MethodObject : Nested {
  Value self;
  const MethodRow* row = nullptr;
};

struct FunctionObject : Object {
  FunctionObject(std::string_view name, Value (*call)(Runtime&, Args&)) : name(name), call(call) {}
  const std::string_view name;
  Value (*const call)(Runtime&, Args&);
};

struct CyclerObject : Nested {
  std::vector<Value> items;
  size_t position = 0;
};

struct JoinerObject : Object {
  Value separator;
  bool used = false;
};

// Returns what a value holds; nullptr for a scalar.
const Nested* NestedOf(const Value& value);

// Returns a hash that is equal for equal values; nullopt for what Python cannot hash.
std::optional<uint64_t> HashOf(const Value& key);
// Returns whether two hashable keys are the same key of a dict.
bool SameKey(const Value& a, const Value& b);

inline Value MakeMarkup(std::string text) {
  return {Kind::kString, std::make_shared<StringObject>(std::move(text), true)};
}
inline bool IsMarkup(const Value& value) {
  return value.Is(Kind::kString) && value.As<StringObject>().markup;
}
inline Value Undefined(UndefinedObject::Why why, std::string text, Kind of = Kind::kNone) {
  return {Kind::kUndefined, std::make_shared<UndefinedObject>(why, std::move(text), of)};
}
inline Value Undefined(std::string message) {
  return Undefined(UndefinedObject::Why::kMessage, std::move(message));
}

}  // namespace ftd::jinja

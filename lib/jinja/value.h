// The values that a template computes with: Python's None, bool, int, float, str, list, tuple and
// dict, and the objects of a running template (macros, namespaces, iterators, …; objects.h).
//
// A Value is cheap to copy: containers and strings are shared and immutable, so that one Value may
// be used from many threads. Its identity is that of what it shares: copies, slices of a list and
// filters that select elements keep the elements' identity.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace ftd::jinja {

// What a Value may share; its kinds are in objects.h.
class Object {
 public:
  virtual ~Object() = default;
};

enum class Kind : uint8_t {
  kMissing,  // inside the library only: a variable that has not been set
  kUndefined,
  kNone,
  kBool,
  kInt,
  kFloat,
  kString,
  kList,
  kTuple,
  kDict,
  kRange,
  kView,      // a dict's keys, values or items
  kIterator,  // what gives its elements once, one after the other
  kNamespace,
  kLoop,
  kMacro,
  kMethod,
  kFunction,
  kCycler,
  kJoiner,
};

class Value {
 public:
  Value() = default;  // None
  static Value Bool(bool value);
  static Value Int(int64_t value);
  static Value Float(double value);
  // Requires: valid UTF-8.
  static Value String(std::string text);
  static Value List(std::vector<Value> items);
  static Value Tuple(std::vector<Value> items);
  // Requires: hashable keys (None, numbers, strings, tuples of them). Of equal keys, the first
  // gives the place and the last the value.
  static Value Dict(std::vector<std::pair<Value, Value>> items);

  // Returns what Python's json.loads makes of a document. INVALID_ARGUMENT for what is not JSON, an
  // integer that does not fit into 64 bits, or nesting deeper than kMaxDepth.
  static absl::StatusOr<Value> FromJson(std::string_view json);

  // Lists in lists, and so on: no template makes a deeper value, and none is read.
  static constexpr int kMaxDepth = 200;

  Kind kind() const { return kind_; }
  bool Is(Kind kind) const { return kind_ == kind; }
  // The identity of what is shared; nullptr for None, bool, int and float.
  const Object* identity() const { return object_.get(); }

  // Of a dict: the value of a key, nullptr when it is not there; and all items, in order.
  const Value* Find(std::string_view key) const;
  const std::vector<std::pair<Value, Value>>& Members() const;
  // Of a list or a tuple.
  const std::vector<Value>& Items() const;

  // The functions below serve the library. Each requires the kind that its name tells.
  Value(Kind kind, std::shared_ptr<const Object> object)
      : kind_(kind), object_(std::move(object)) {}
  static Value Missing() { return {Kind::kMissing, nullptr}; }
  bool AsBool() const { return number_.integer != 0; }
  int64_t AsInt() const { return number_.integer; }
  double AsFloat() const { return number_.real; }
  const std::string& AsString() const;
  template <typename T>
  const T& As() const {
    return static_cast<const T&>(*object_);
  }
  // For objects that change: iterators, namespaces, loops, cyclers, joiners.
  template <typename T>
  T& Mutable() const {
    return const_cast<T&>(As<T>());  // NOLINT: made by MakeObject, never const
  }

 private:
  Kind kind_ = Kind::kNone;
  union {
    int64_t integer = 0;
    double real;
  } number_;
  std::shared_ptr<const Object> object_;
};

}  // namespace ftd::jinja

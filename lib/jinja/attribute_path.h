// The parameter `attribute` of filters: "name", "a.b.0", 3, or none.
#pragma once

#include <optional>
#include <vector>

#include "lib/jinja/runtime.h"

namespace ftd::jinja {

class AttributePath {
 public:
  // None and missing: the value itself.
  AttributePath(Runtime& runtime, const Value& attribute);

  // Returns what the path leads to from `value`. With `otherwise`, that stands for each undefined
  // value on the way.
  Value Follow(Runtime& runtime, Value value, const Value* otherwise = nullptr) const;

 private:
  std::vector<Value> parts_;
};

// Returns a text in lower case unless `case_sensitive`, and all else as it is.
Value KeyOf(Runtime& runtime, const Value& value, bool case_sensitive);

}  // namespace ftd::jinja

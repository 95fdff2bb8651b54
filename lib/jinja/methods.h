// The methods of Python's str, list, tuple, dict, range, int and float, of `loop` and of cyclers.
#pragma once

#include <span>
#include <string_view>

#include "lib/jinja/arguments.h"
#include "lib/jinja/value.h"

namespace ftd::jinja {

struct MethodRow {
  std::string_view name;
  Signature signature;
  Value (*call)(Runtime&, const Value& self, const Bound&);               // nullptr: not supported
  Value (*call_any)(Runtime&, const Value& self, const Args&) = nullptr;  // takes any arguments
};

// Returns the method of that name of the value's type; nullptr if it has none.
const MethodRow* FindMethod(const Value& self, std::string_view name);
Value CallMethod(Runtime& runtime, const Value& self, const MethodRow& row, const Args& args);

// text_methods.cc: str's, sorted by name.
std::span<const MethodRow> TextMethods();

}  // namespace ftd::jinja

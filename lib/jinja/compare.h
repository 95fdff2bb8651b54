// Equality and order of values, as Python has them.
#pragma once

#include <optional>

#include "lib/jinja/value.h"

namespace ftd::jinja {

class Runtime;

// Returns a == b. Numbers compare by value whatever their type, also inside containers.
bool Equals(Runtime& runtime, const Value& a, const Value& b);

// Returns a negative number, zero or a positive one as a is less than, equal to or greater than b.
// nullopt for NaN; throws for what has no order. `sign` names the operator in the error.
std::optional<int> Order(Runtime& runtime, const Value& a, const Value& b, const char* sign);
// Returns a < b; throws as Order does.
bool Less(Runtime& runtime, const Value& a, const Value& b);

// Returns whether `item in container`; throws for what holds nothing.
bool Contains(Runtime& runtime, const Value& container, const Value& item);

}  // namespace ftd::jinja

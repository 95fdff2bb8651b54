// The operators of expressions, as Python has them. Each throws for operands that it does not take,
// and where an integer leaves 64 bits.
#pragma once

#include "lib/jinja/program.h"
#include "lib/jinja/value.h"

namespace ftd::jinja {

class Runtime;

// Requires: one of kAdd … kPow.
Value Binary(Runtime& runtime, Op op, const Value& left, const Value& right);
Value Negate(const Value& value);
Value Plus(const Value& value);

// Returns an int or a bool as an integer; throws for anything else.
int64_t ToIndex(const Value& value);
// Returns a number as a double; throws for anything else.
double ToReal(const Value& value);
inline bool IsInteger(const Value& value) { return value.Is(Kind::kInt) || value.Is(Kind::kBool); }
inline bool IsNumber(const Value& value) { return IsInteger(value) || value.Is(Kind::kFloat); }
// Returns the whole number as an int; throws if it is too large, or no number.
Value ToInt(double value);

// Returns `count` copies of a text, one after the other.
std::string Repeated(Runtime& runtime, const std::string& text, int64_t count);

}  // namespace ftd::jinja

// The literals of a template's expressions, and numbers in strings, as Python reads them.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ftd::jinja {

// Returns the length of the float, or integer, that `text` begins with; 0 if there is none.
size_t FloatLength(std::string_view text);
size_t IntegerLength(std::string_view text);

// Requires: what FloatLength has measured, or a float without underscores.
double FloatValue(std::string_view text);
// Returns the integer of a literal: decimal, 0x, 0o or 0b. nullopt if it does not fit.
std::optional<int64_t> IntegerValue(std::string_view text);

// Returns the string between quotes with its escapes replaced. Throws a Failure at `at`.
std::string Unescaped(std::string_view text, uint32_t at);

enum class ParseResult { kOk, kInvalid, kTooLarge };
// int(text, base): white space around it, a sign, underscores between digits, a prefix where the
// base is 0 or the prefix's own.
ParseResult ParseInt(std::string_view text, int base, int64_t* out);
// float(text): white space around it, underscores between digits, inf and nan. nullopt: invalid.
std::optional<double> ParseFloat(std::string_view text);

}  // namespace ftd::jinja

// Characters and their case, as the methods of Python's str see them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>

namespace ftd::jinja {

// str.isspace(), which also str.strip() and a regex's \s go by: White_Space and U+001C to U+001F.
bool IsSpace(uint32_t point);
bool IsAlpha(uint32_t point);
bool IsDecimal(uint32_t point);
bool IsDigit(uint32_t point);
bool IsNumeric(uint32_t point);
inline bool IsAlnum(uint32_t point) { return IsAlpha(point) || IsNumeric(point); }
bool IsLower(uint32_t point);
bool IsUpper(uint32_t point);
bool IsTitle(uint32_t point);
// Whether repr() shows the character as itself.
bool IsPrintable(uint32_t point);

// The whole text in another case. All require valid UTF-8.
std::string ToUpper(std::string_view text);
std::string ToLower(std::string_view text);
std::string ToTitle(std::string_view text);
std::string Capitalized(std::string_view text);
std::string SwapCase(std::string_view text);

// Calls `visit(point, position)` for each code point until it returns false. Returns whether it
// never did.
bool AllPoints(std::string_view text, const std::function<bool(uint32_t)>& visit);

}  // namespace ftd::jinja

// Numbers as digits: what the operator % and format specs share.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ftd::jinja {

class Runtime;

// What stands around and within a formatted value.
struct Layout {
  std::string fill = " ";
  char align = '\0';  // < > ^ =, or none
  char sign = '-';    // - + or a space
  bool alternate = false;
  int64_t width = 0;
  char grouping = '\0';  // , or _ or none
  std::optional<int64_t> precision;
  char type = '\0';
};

// Returns a number's digits without its sign. `type` is one of d b o x X.
std::string DigitsOf(int64_t number, char type);
// The same for a float; `type` is one of e E f F g G. "inf" and "nan" as they are.
std::string DigitsOf(double number, char type, int64_t precision, bool alternate);

// Returns sign, prefix, grouped digits and padding. `digits` may have a fraction and an exponent.
std::string LaidOutNumber(Runtime& runtime, const Layout& layout, bool negative,
                          std::string_view prefix, std::string digits);
// Returns the text, padded to the width; by default it stands on the left.
std::string LaidOutText(Runtime& runtime, const Layout& layout, std::string_view text);

// Returns the first code points of a text.
std::string_view FirstPoints(std::string_view text, int64_t count);

}  // namespace ftd::jinja

#include "lib/jinja/number_text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "lib/base/utf8.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/operators.h"
#include "lib/jinja/runtime.h"

namespace ftd::jinja {
namespace {

// Groups of three digits of the whole part; of four for other bases than ten.
std::string Grouped(const std::string& digits, char separator, size_t group) {
  const size_t whole = std::min(digits.find_first_not_of("0123456789abcdefABCDEF"), digits.size());
  const size_t end =
      group == 3 ? std::min(digits.find_first_not_of("0123456789"), digits.size()) : whole;
  std::string out;
  for (size_t i = 0; i < end; ++i) {
    if (i > 0 && (end - i) % group == 0) out.push_back(separator);
    out.push_back(digits[i]);
  }
  return out + digits.substr(end);
}

}  // namespace

std::string_view FirstPoints(std::string_view text, int64_t count) {
  size_t pos = 0;
  for (int64_t i = 0; i < count && pos < text.size(); ++i)
    pos += Utf8Length(static_cast<unsigned char>(text[pos]));
  return text.substr(0, pos);
}

std::string DigitsOf(int64_t number, char type) {
  const uint64_t base = type == 'b' ? 2 : type == 'o' ? 8 : type == 'x' || type == 'X' ? 16 : 10;
  const char* const names = type == 'X' ? "0123456789ABCDEF" : "0123456789abcdef";
  uint64_t rest = number < 0 ? 0 - static_cast<uint64_t>(number) : static_cast<uint64_t>(number);
  std::string digits;
  do {
    digits.push_back(names[rest % base]);
    rest /= base;
  } while (rest > 0);
  std::reverse(digits.begin(), digits.end());
  return digits;
}

std::string DigitsOf(double number, char type, int64_t precision, bool alternate) {
  const bool upper = type == 'E' || type == 'F' || type == 'G';
  if (std::isnan(number)) return upper ? "NAN" : "nan";
  if (std::isinf(number)) return upper ? "INF" : "inf";
  constexpr int64_t kMostDigits = 500;
  if (precision > kMostDigits) Fail("the precision is too large");
  const char format[] = {'%',
                         alternate ? '#' : '.',
                         alternate ? '.' : '*',
                         alternate ? '*' : type,
                         alternate ? type : '\0',
                         '\0'};
  std::string digits(static_cast<size_t>(precision) + 330, '\0');
  const int length = std::snprintf(digits.data(), digits.size(), format,
                                   static_cast<int>(precision), std::abs(number));
  digits.resize(static_cast<size_t>(length));
  return digits;
}

std::string LaidOutNumber(Runtime& runtime, const Layout& layout, bool negative,
                          std::string_view prefix, std::string digits) {
  if (layout.grouping != '\0') {
    const bool other_base =
        layout.type == 'b' || layout.type == 'o' || layout.type == 'x' || layout.type == 'X';
    if (layout.fill == "0" && layout.align == '=' && layout.width > 0)
      Fail("zeros and grouping together are not supported in a format");
    digits = Grouped(digits, layout.grouping, other_base ? 4 : 3);
  }
  std::string head = negative ? "-" : layout.sign == '-' ? "" : std::string(1, layout.sign);
  head.append(prefix);
  const auto used = static_cast<int64_t>(head.size()) + CountCodePoints(digits);
  const int64_t missing = std::max<int64_t>(layout.width - used, 0);
  if (layout.align == '=') return head + Repeated(runtime, layout.fill, missing) + digits;
  Layout around = layout;
  if (around.align == '\0') around.align = '>';
  return LaidOutText(runtime, around, head + digits);
}

std::string LaidOutText(Runtime& runtime, const Layout& layout, std::string_view text) {
  const int64_t missing = std::max<int64_t>(layout.width - CountCodePoints(text), 0);
  const int64_t left = layout.align == '>' ? missing : layout.align == '^' ? missing / 2 : 0;
  return Repeated(runtime, layout.fill, left)
      .append(text)
      .append(Repeated(runtime, layout.fill, missing - left));
}

}  // namespace ftd::jinja

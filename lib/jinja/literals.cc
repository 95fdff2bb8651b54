#include "lib/jinja/literals.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <limits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/failure.h"
#include "lib/jinja/unicode.h"

namespace ftd::jinja {
namespace {

int DigitValue(char c) {
  if (c >= '0' && c <= '9') return c - '0';
  const char lower = absl::ascii_tolower(static_cast<unsigned char>(c));
  return lower >= 'a' && lower <= 'z' ? lower - 'a' + 10 : 99;
}

// Returns the length of digits of a base, single underscores between them, from `pos` on.
size_t DigitsLength(std::string_view text, size_t pos, int base) {
  size_t end = pos;
  while (end < text.size()) {
    const size_t digit = end > pos && text[end] == '_' ? end + 1 : end;
    if (digit >= text.size() || DigitValue(text[digit]) >= base) break;
    end = digit + 1;
  }
  return end - pos;
}

int BaseOfPrefix(std::string_view text) {
  if (text.size() < 2 || text[0] != '0') return 10;
  switch (text[1] | 0x20) {
    case 'x':
      return 16;
    case 'o':
      return 8;
    case 'b':
      return 2;
    default:
      return 10;
  }
}

std::string WithoutUnderscores(std::string_view text) {
  std::string out(text);
  out.erase(std::remove(out.begin(), out.end(), '_'), out.end());
  return out;
}

std::optional<uint64_t> Magnitude(std::string_view digits, int base) {
  uint64_t number = 0;
  for (const char c : digits) {
    if (c == '_') continue;
    if (__builtin_mul_overflow(number, static_cast<uint64_t>(base), &number) ||
        __builtin_add_overflow(number, static_cast<uint64_t>(DigitValue(c)), &number))
      return std::nullopt;
  }
  return number;
}

std::string_view WithoutSpace(std::string_view text) {
  while (!text.empty() && IsSpace(DecodeUtf8(text, 0)))
    text.remove_prefix(Utf8Length(static_cast<unsigned char>(text[0])));
  while (!text.empty() && IsSpace(DecodeUtf8(text, LastCodePointBegin(text))))
    text = text.substr(0, LastCodePointBegin(text));
  return text;
}

// Python takes the decimal digits of any script. Unicode has them in runs of ten, from 0 to 9.
std::string WithAsciiDigits(std::string_view text) {
  std::string out;
  for (size_t pos = 0; pos < text.size();) {
    const uint32_t point = DecodeUtf8(text, pos);
    const size_t length = Utf8Length(static_cast<unsigned char>(text[pos]));
    uint32_t zero = point;
    while (length > 1 && IsDecimal(point) && IsDecimal(zero - 1)) --zero;
    length > 1 && IsDecimal(point) ? out.push_back(static_cast<char>('0' + (point - zero) % 10))
                                   : void(out.append(text.substr(pos, length)));
    pos += length;
  }
  return out;
}

// Python first writes what is not ASCII as escapes and then reads all escapes, so that a backslash
// before such a character escapes the escape's backslash.
std::string WithAsciiEscapes(std::string_view text) {
  constexpr char kHex[] = "0123456789abcdef";
  std::string out;
  for (size_t pos = 0; pos < text.size();) {
    const size_t length = Utf8Length(static_cast<unsigned char>(text[pos]));
    const uint32_t point = DecodeUtf8(text, pos);
    pos += length;
    if (length == 1) {
      out.push_back(static_cast<char>(point));
      continue;
    }
    const int digits = point < 0x100 ? 2 : point < 0x10000 ? 4 : 8;
    out.append({'\\', digits == 2 ? 'x' : digits == 4 ? 'u' : 'U'});
    for (int i = digits - 1; i >= 0; --i) out.push_back(kHex[(point >> (4 * i)) & 15]);
  }
  return out;
}

class Unescaper {
 public:
  Unescaper(std::string_view text, uint32_t at) : text_(text), at_(at) {}

  std::string Run() {
    while (pos_ < text_.size()) {
      const char c = text_[pos_++];
      c == '\\' ? Escape() : out_.push_back(c);
    }
    return std::move(out_);
  }

 private:
  void Escape() {
    constexpr std::string_view kLetters = "\\'\"abfnrtv", kValues = "\\'\"\a\b\f\n\r\t\v";
    const char c = text_[pos_++];
    if (c == '\n') return;
    if (const size_t found = kLetters.find(c); found != std::string_view::npos)
      return out_.push_back(kValues[found]);
    if (c == 'x') return Point(2);
    if (c == 'u') return Point(4);
    if (c == 'U') return Point(8);
    if (c >= '0' && c <= '7') return Octal();
    if (c == 'N') FailAt(at_, "the escape \\N{…} is not supported");
    out_.append({'\\', c});
  }

  void Point(size_t digits) {
    const std::string_view hex = text_.substr(pos_, digits);
    const bool whole = hex.size() == digits && DigitsLength(hex, 0, 16) == digits &&
                       hex.find('_') == std::string_view::npos;
    const auto point = whole ? Magnitude(hex, 16) : std::nullopt;
    if (!point || *point > 0x10FFFF) FailAt(at_, "the string has a bad escape");
    if (*point >= 0xD800 && *point < 0xE000)
      FailAt(at_, "the string has a lone surrogate, which UTF-8 cannot hold");
    AppendUtf8(static_cast<uint32_t>(*point), &out_);
    pos_ += digits;
  }

  void Octal() {
    uint32_t point = static_cast<uint32_t>(text_[pos_ - 1] - '0');
    for (int i = 0; i < 2 && pos_ < text_.size() && text_[pos_] >= '0' && text_[pos_] <= '7'; ++i)
      point = point * 8 + static_cast<uint32_t>(text_[pos_++] - '0');
    AppendUtf8(point, &out_);
  }

  const std::string_view text_;
  const uint32_t at_;
  size_t pos_ = 0;
  std::string out_;
};

}  // namespace

// Digits with a fraction, an exponent, or both.
size_t FloatLength(std::string_view text) {
  size_t length = DigitsLength(text, 0, 10);
  if (length == 0) return 0;
  bool real = false;
  if (text.size() > length && text[length] == '.') {
    const size_t fraction = DigitsLength(text, length + 1, 10);
    if (fraction == 0) return 0;
    length += 1 + fraction;
    real = true;
  }
  if (text.size() > length && (text[length] | 0x20) == 'e') {
    size_t exponent = length + 1;
    if (exponent < text.size() && (text[exponent] == '+' || text[exponent] == '-')) ++exponent;
    const size_t digits = DigitsLength(text, exponent, 10);
    if (digits > 0) return exponent + digits;
  }
  return real ? length : 0;
}

size_t IntegerLength(std::string_view text) {
  if (const int base = BaseOfPrefix(text); base != 10) {
    const size_t begin = text.size() > 2 && text[2] == '_' ? 3 : 2;
    const size_t digits = DigitsLength(text, begin, base);
    if (digits > 0) return begin + digits;
  }
  return DigitsLength(text, 0, text[0] == '0' ? 1 : 10);
}

double FloatValue(std::string_view text) {
  const std::string plain = WithoutUnderscores(text);
  double value = 0;
  const auto result = std::from_chars(plain.data(), plain.data() + plain.size(), value);
  if (result.ec == std::errc::result_out_of_range) {
    // Too large or too small: from_chars does not tell which, strtod rounds as Python does.
    value = std::strtod(plain.c_str(), nullptr);
  }
  return value;
}

std::optional<int64_t> IntegerValue(std::string_view text) {
  int64_t value = 0;
  return ParseInt(text, 0, &value) == ParseResult::kOk ? std::optional<int64_t>(value)
                                                       : std::nullopt;
}

std::string Unescaped(std::string_view text, uint32_t at) {
  const bool plain = std::all_of(text.begin(), text.end(), [](char c) { return c != '\\'; });
  if (plain) return std::string(text);
  return Unescaper(WithAsciiEscapes(text), at).Run();
}

ParseResult ParseInt(std::string_view given, int base, int64_t* out) {
  const std::string digits = WithAsciiDigits(WithoutSpace(given));
  std::string_view text = digits;
  const bool negative = text.starts_with("-");
  if (negative || text.starts_with("+")) text.remove_prefix(1);
  const int prefix = BaseOfPrefix(text);
  if (prefix != 10 && (base == 0 || base == prefix)) {
    base = prefix;
    text.remove_prefix(2);
    if (text.starts_with("_")) text.remove_prefix(1);
  } else if (base == 0) {
    base = 10;
    const bool zero = text.starts_with("0");
    if (zero && DigitsLength(text, 0, 1) != text.size()) return ParseResult::kInvalid;
  }
  if (text.empty() || DigitsLength(text, 0, base) != text.size()) return ParseResult::kInvalid;
  const auto magnitude = Magnitude(text, base);
  const uint64_t most = uint64_t{std::numeric_limits<int64_t>::max()} + (negative ? 1 : 0);
  if (!magnitude || *magnitude > most) return ParseResult::kTooLarge;
  *out = static_cast<int64_t>(negative ? 0 - *magnitude : *magnitude);
  return ParseResult::kOk;
}

std::optional<double> ParseFloat(std::string_view given) {
  const std::string digits = WithAsciiDigits(WithoutSpace(given));
  std::string_view text = digits;
  const bool negative = text.starts_with("-");
  if (negative || text.starts_with("+")) text.remove_prefix(1);
  const double sign = negative ? -1 : 1;
  const absl::string_view word(text.data(), text.size());
  if (absl::EqualsIgnoreCase(word, "inf") || absl::EqualsIgnoreCase(word, "infinity"))
    return sign * std::numeric_limits<double>::infinity();
  if (absl::EqualsIgnoreCase(word, "nan")) return std::numeric_limits<double>::quiet_NaN();
  // Python allows "1." and ".5", which no literal of a template is.
  if (text.starts_with(".") && DigitsLength(text, 1, 10) == 0) return std::nullopt;
  std::string whole(text);
  if (whole.starts_with(".")) whole.insert(0, "0");
  const size_t dot = whole.find('.');
  if (dot != std::string::npos && (dot + 1 == whole.size() || (whole[dot + 1] | 0x20) == 'e'))
    whole.insert(dot + 1, "0");
  if (whole.empty()) return std::nullopt;
  const size_t length = std::max(FloatLength(whole), DigitsLength(whole, 0, 10));
  if (length != whole.size()) return std::nullopt;
  return sign * FloatValue(whole);
}

}  // namespace ftd::jinja

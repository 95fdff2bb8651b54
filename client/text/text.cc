#include "client/text/text.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "absl/strings/numbers.h"
#include "absl/strings/str_format.h"
#include "lib/base/utf8.h"

namespace ftd {
namespace {

// One code point, or a byte that is not part of any.
struct Rune {
  uint32_t code = 0;
  size_t length = 1;
  bool valid = false;
};

Rune DecodeRune(std::string_view text) {
  // Overlong forms and surrogates are refused: they could hide a control character.
  const auto point = FirstCodePoint(text);
  return point ? Rune{point->value, point->length, true} : Rune{};
}

bool In(uint32_t code, uint32_t first, uint32_t last) { return code >= first && code <= last; }

// Returns whether the code point could act on the terminal: C0, DEL and C1 controls; marks that
// turn the writing direction, which could make a line read as another.
bool IsControl(uint32_t code) {
  return code < 0x20 || In(code, 0x7F, 0x9F) || In(code, 0x202A, 0x202E) ||
         In(code, 0x2066, 0x2069);
}

// Returns the columns that a code point takes: 0, 1 or 2. The blocks that matter, not the whole of
// Unicode's tables: a column too many in a rare script does no harm.
int RuneWidth(uint32_t code) {
  if (In(code, 0x0300, 0x036F) || In(code, 0x200B, 0x200F) || In(code, 0xFE00, 0xFE0F)) return 0;
  const bool wide = In(code, 0x1100, 0x115F) || In(code, 0x2E80, 0xA4CF) ||
                    In(code, 0xAC00, 0xD7A3) || In(code, 0xF900, 0xFAFF) ||
                    In(code, 0xFE30, 0xFE4F) || In(code, 0xFF00, 0xFF60) ||
                    In(code, 0x1F300, 0x1FAFF) || In(code, 0x20000, 0x3FFFD);
  return wide ? 2 : 1;
}

// Text from the server or a file may hold escape sequences; none may reach the terminal.
std::string Sanitized(std::string_view text, bool keep_lines) {
  std::string out;
  out.reserve(text.size());
  while (!text.empty()) {
    const Rune rune = DecodeRune(text);
    if (rune.valid && rune.code == '\n' && keep_lines) {
      out += '\n';
    } else if (rune.valid && (rune.code == '\n' || rune.code == '\r' || rune.code == '\t')) {
      out += ' ';
    } else if (!rune.valid || IsControl(rune.code)) {
      out += '?';
    } else {
      out += text.substr(0, rune.length);
    }
    text.remove_prefix(rune.length);
  }
  return out;
}

}  // namespace

std::string Printable(std::string_view text) { return Sanitized(text, false); }
std::string PrintableLines(std::string_view text) { return Sanitized(text, true); }

std::string ControlsEscaped(std::string_view json) {
  std::string out;
  out.reserve(json.size());
  while (!json.empty()) {
    const Rune rune = DecodeRune(json);
    // JSON's own line breaks stay; within a text they are escapes already.
    if (rune.valid && rune.code > 0x20 && IsControl(rune.code)) {
      absl::StrAppendFormat(&out, "\\u%04x", rune.code);
    } else {
      out += json.substr(0, rune.length);
    }
    json.remove_prefix(rune.length);
  }
  return out;
}

// Columns of a terminal, where "漢" takes two.
int DisplayWidth(std::string_view text) {
  int width = 0;
  while (!text.empty()) {
    const Rune rune = DecodeRune(text);
    width += rune.valid ? RuneWidth(rune.code) : 1;
    text.remove_prefix(rune.length);
  }
  return width;
}

// Cuts between characters, and marks the cut within `columns`.
std::string Shorten(std::string_view text, int columns, bool unicode) {
  if (DisplayWidth(text) <= columns) return std::string(text);
  if (columns <= 0) return "";
  std::string out;
  int width = 0;
  while (!text.empty()) {
    const Rune rune = DecodeRune(text);
    width += rune.valid ? RuneWidth(rune.code) : 1;
    if (width > columns - 1) break;
    out += text.substr(0, rune.length);
    text.remove_prefix(rune.length);
  }
  return out + (unicode ? "…" : "~");
}

std::string Bar(int eighths, bool unicode) {
  constexpr const char* kParts[] = {"", "▏", "▎", "▍", "▌", "▋", "▊", "▉"};
  std::string bar;
  for (int i = 0; i < eighths / 8; ++i) bar += unicode ? "█" : "#";
  return unicode ? bar + kParts[eighths % 8] : bar;
}

std::string PadRight(std::string_view text, int columns) {
  return std::string(text) + std::string(std::max(0, columns - DisplayWidth(text)), ' ');
}

// The two largest units: "41s", "5m03s", "2h15m", "3d04h".
std::string ShortDuration(double seconds) {
  const auto total = static_cast<int64_t>(std::llround(std::clamp(seconds, 0.0, 1e12)));
  if (total < 60) return absl::StrFormat("%ds", total);
  if (total < 3600) return absl::StrFormat("%dm%02ds", total / 60, total % 60);
  if (total < 86400) return absl::StrFormat("%dh%02dm", total / 3600, total / 60 % 60);
  return absl::StrFormat("%dd%02dh", total / 86400, total / 3600 % 24);
}

// Each unit once, the greater first.
std::optional<int64_t> ParseDuration(std::string_view text) {
  struct Unit {
    char letter;
    int64_t seconds;
  };
  constexpr Unit kUnits[] = {{'d', 86400}, {'h', 3600}, {'m', 60}, {'s', 1}};
  constexpr int64_t kMost = int64_t{1} << 40;
  if (text.empty()) return std::nullopt;
  int64_t seconds = 0;
  for (const Unit& unit : kUnits) {
    const size_t digits = std::min(text.find_first_not_of("0123456789"), text.size());
    if (digits == text.size() || text[digits] != unit.letter) continue;
    int64_t count = 0;
    if (!absl::SimpleAtoi(std::string(text.substr(0, digits)), &count) ||
        count > kMost / unit.seconds)
      return std::nullopt;
    seconds += count * unit.seconds;
    text.remove_prefix(digits + 1);
  }
  return text.empty() ? std::optional(seconds) : std::nullopt;
}

std::string Fixed(double value, int digits) { return absl::StrFormat("%.*f", digits, value); }
std::string Scientific(double value, int digits) { return absl::StrFormat("%.*e", digits, value); }

}  // namespace ftd

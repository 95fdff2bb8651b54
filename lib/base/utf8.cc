#include "lib/base/utf8.h"

#include <algorithm>
#include <cstring>

#include "absl/strings/str_format.h"
#include "utf8proc.h"

namespace ftd {
namespace {

bool IsAscii(char byte) { return static_cast<unsigned char>(byte) < 0x80; }
bool IsContinuation(char byte) { return (static_cast<unsigned char>(byte) & 0xC0) == 0x80; }

// Returns the bytes of the maximal part of an invalid sequence that `text` starts with: of the
// longest beginning that continuation bytes could complete, and at least one. It is replaced as
// one, as Python and Rust do.
size_t InvalidLength(std::string_view text) {
  const size_t wanted = Utf8Length(static_cast<unsigned char>(text[0]));
  size_t length = 1;
  for (size_t tried = 2; tried < wanted && tried <= text.size(); ++tried) {
    // Only the second byte's range depends on the lead, so any continuation byte will do after it.
    std::string completed(text.substr(0, tried));
    completed.resize(wanted, '\x80');
    if (!FirstCodePoint(completed)) break;
    length = tried;
  }
  return length;
}

// Returns the position of the first byte that is not ASCII, from `pos` on. Eight bytes at a time:
// most text is ASCII.
size_t SkipAscii(std::string_view text, size_t pos) {
  while (pos + 8 <= text.size()) {
    uint64_t word;
    std::memcpy(&word, text.data() + pos, 8);
    if (word & 0x8080808080808080u) break;
    pos += 8;
  }
  while (pos < text.size() && IsAscii(text[pos])) ++pos;
  return pos;
}

}  // namespace

std::optional<CodePoint> FirstCodePoint(std::string_view text) {
  utf8proc_int32_t value = 0;
  const utf8proc_ssize_t length =
      utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                       static_cast<utf8proc_ssize_t>(text.size()), &value);
  if (length < 1) return std::nullopt;
  return CodePoint{static_cast<uint32_t>(value), static_cast<size_t>(length)};
}

uint32_t DecodeUtf8(std::string_view text, size_t pos) {
  if (IsAscii(text[pos])) return static_cast<unsigned char>(text[pos]);
  utf8proc_int32_t value = 0;
  utf8proc_iterate(reinterpret_cast<const utf8proc_uint8_t*>(text.data() + pos),
                   static_cast<utf8proc_ssize_t>(text.size() - pos), &value);
  return static_cast<uint32_t>(value);
}

int64_t CountCodePoints(std::string_view text) {
  return std::count_if(text.begin(), text.end(), [](char c) { return !IsContinuation(c); });
}

size_t LastCodePointBegin(std::string_view text) {
  size_t pos = text.size() - 1;
  while (IsContinuation(text[pos])) --pos;
  return pos;
}

void AppendUtf8(uint32_t code_point, std::string* out) {
  if (code_point < 0x80) return out->push_back(static_cast<char>(code_point));
  utf8proc_uint8_t bytes[4];
  const utf8proc_ssize_t length =
      utf8proc_encode_char(static_cast<utf8proc_int32_t>(code_point), bytes);
  out->append(bytes, bytes + length);
}

bool IsValidUtf8(std::string_view text) {
  for (size_t pos = SkipAscii(text, 0); pos < text.size(); pos = SkipAscii(text, pos)) {
    const auto point = FirstCodePoint(text.substr(pos));
    if (!point) return false;
    pos += point->length;
  }
  return true;
}

// "\xEF\xBF\xBD" is U+FFFD, the replacement character.
std::string RepairUtf8(std::string_view text) {
  if (IsValidUtf8(text)) return std::string(text);
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    const std::string_view rest = text.substr(pos);
    const auto point = FirstCodePoint(rest);
    const size_t length = point ? point->length : InvalidLength(rest);
    out.append(point ? rest.substr(0, length) : "\uFFFD");
    pos += length;
  }
  return out;
}

std::string_view Utf8Prefix(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return text;
  size_t end = max_bytes;
  while (end > 0 && IsContinuation(text[end])) --end;
  return text.substr(0, end);
}

std::string_view FromFirstCodePoint(std::string_view text) {
  size_t begin = 0;
  while (begin < 3 && begin < text.size() && IsContinuation(text[begin])) ++begin;
  return text.substr(begin);
}

std::string Shortened(std::string_view text, size_t max_bytes) {
  if (text.size() <= max_bytes) return std::string(text);
  return std::string(Utf8Prefix(text, max_bytes * 2 / 3))
      .append("…")
      .append(FromFirstCodePoint(text.substr(text.size() - max_bytes / 3)));
}

std::string EscapeInvalidUtf8(std::string_view text) {
  std::string out;
  while (!text.empty()) {
    const auto point = FirstCodePoint(text);
    const size_t length = point ? point->length : 1;
    if (point) {
      out.append(text.substr(0, length));
    } else {
      absl::StrAppendFormat(&out, "\\x%02X", static_cast<unsigned char>(text[0]));
    }
    text.remove_prefix(length);
  }
  return out;
}

// The property White_Space.
bool IsUnicodeSpace(uint32_t c) {
  return (c >= 0x9 && c <= 0xD) || c == 0x20 || c == 0x85 || c == 0xA0 || c == 0x1680 ||
         (c >= 0x2000 && c <= 0x200A) || c == 0x2028 || c == 0x2029 || c == 0x202F || c == 0x205F ||
         c == 0x3000;
}

}  // namespace ftd

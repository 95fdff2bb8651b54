// UTF-8: validation, decoding, encoding, repair. utf8proc judges what is valid; no other file knows
// how the bytes are laid out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ftd {

struct CodePoint {
  uint32_t value;
  size_t length;  // in bytes
};

// Returns the code point that `text` starts with, or nullopt if it does not start with valid UTF-8.
// Requires: not empty.
std::optional<CodePoint> FirstCodePoint(std::string_view text);

// Returns the bytes of the code point that starts with `lead`. Requires: valid UTF-8.
inline size_t Utf8Length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

// Returns the code point at `text[pos]`. Requires: valid UTF-8.
uint32_t DecodeUtf8(std::string_view text, size_t pos);

// Requires: valid UTF-8.
int64_t CountCodePoints(std::string_view text);

// Returns where the last code point of `text` starts. Requires: valid UTF-8, not empty.
size_t LastCodePointBegin(std::string_view text);

// Requires: a code point, so at most 0x10FFFF.
void AppendUtf8(uint32_t code_point, std::string* out);

bool IsValidUtf8(std::string_view text);

// Returns `text` with U+FFFD for each maximal part of an invalid sequence, as Rust's
// from_utf8_lossy does it.
std::string RepairUtf8(std::string_view text);

// Returns the longest beginning of `text` of at most `max_bytes` that cuts no code point.
std::string_view Utf8Prefix(std::string_view text, size_t max_bytes);

// Returns `text` from its first code point on: without the continuation bytes that a cut through
// one left at its beginning, at most 3.
std::string_view FromFirstCodePoint(std::string_view text);

// Returns `text` with each byte of an invalid sequence as "\xE9".
std::string EscapeInvalidUtf8(std::string_view text);

// Returns `text`, or where it is longer than `max_bytes` its first and its last part, with "…"
// between them. No code point is cut.
std::string Shortened(std::string_view text, size_t max_bytes);

// White_Space of Unicode: Rust's char::is_whitespace.
bool IsUnicodeSpace(uint32_t code_point);

}  // namespace ftd

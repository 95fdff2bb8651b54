// UTF-8: validation, decoding, repair.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace ftd {

// Bytes of the code point that starts with `lead`. Requires: valid UTF-8.
inline size_t Utf8Length(unsigned char lead) {
  return lead < 0x80 ? 1 : lead < 0xE0 ? 2 : lead < 0xF0 ? 3 : 4;
}

// The code point at `text[pos]`. Requires: valid UTF-8.
uint32_t DecodeUtf8(std::string_view text, size_t pos);

void AppendUtf8(uint32_t code_point, std::string* out);

bool IsValidUtf8(std::string_view text);

// `text` with U+FFFD for each maximal part of an invalid sequence, as Rust's from_utf8_lossy does
// it.
std::string RepairUtf8(std::string_view text);

// White_Space of Unicode: Rust's char::is_whitespace.
bool IsUnicodeSpace(uint32_t code_point);

}  // namespace ftd

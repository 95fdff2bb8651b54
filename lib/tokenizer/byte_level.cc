#include "lib/tokenizer/byte_level.h"

#include <array>

#include "lib/base/utf8.h"

namespace ftd {
namespace {

constexpr uint32_t kAlphabetEnd = 0x144;  // one behind the largest code point of the alphabet

struct Alphabet {
  std::array<uint16_t, 256> letter;
  std::array<int16_t, kAlphabetEnd> byte;
};

// Makes GPT-2's table (bytes_to_unicode): printable Latin-1 stands for itself, and the other 68
// bytes follow from U+0100 on, in order.
constexpr Alphabet MakeAlphabet() {
  Alphabet alphabet{};
  for (auto& byte : alphabet.byte) byte = -1;
  uint16_t next = 0x100;
  for (uint16_t b = 0; b < 256; ++b) {
    const bool printable = (b >= 0x21 && b <= 0x7E) || (b >= 0xA1 && b != 0xAD);
    alphabet.letter[b] = printable ? b : next++;
    alphabet.byte[alphabet.letter[b]] = static_cast<int16_t>(b);
  }
  return alphabet;
}

constexpr Alphabet kAlphabet = MakeAlphabet();

}  // namespace

std::string BytesToAlphabet(std::string_view text) {
  std::string out;
  out.reserve(text.size() * 2);
  for (const unsigned char byte : text) AppendUtf8(kAlphabet.letter[byte], &out);
  return out;
}

// The reverse; nullopt if a letter is not of the alphabet, as in some added tokens.
std::optional<std::string> AlphabetToBytes(std::string_view letters) {
  std::string out;
  out.reserve(letters.size());
  for (size_t pos = 0; pos < letters.size();) {
    const uint32_t point = DecodeUtf8(letters, pos);
    if (point >= kAlphabetEnd || kAlphabet.byte[point] < 0) return std::nullopt;
    out.push_back(static_cast<char>(kAlphabet.byte[point]));
    pos += Utf8Length(static_cast<unsigned char>(letters[pos]));
  }
  return out;
}

}  // namespace ftd

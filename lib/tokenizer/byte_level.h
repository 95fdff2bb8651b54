// GPT-2's byte alphabet: each byte as one printable code point, so that a BPE vocabulary is a set
// of strings.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ftd {

// Each byte of `text` as its letter of the alphabet, in UTF-8.
std::string BytesToAlphabet(std::string_view text);

// The bytes that `letters` stand for; nullopt when a code point is not in the alphabet. Requires:
// valid UTF-8.
std::optional<std::string> AlphabetToBytes(std::string_view letters);

}  // namespace ftd

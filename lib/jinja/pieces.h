// Texts cut into pieces, stripped and replaced, as the methods of Python's str do it. What views a
// text lives as long as the text.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace ftd::jinja {

class Runtime;

// Returns the text without the characters of `chars` at its ends; nullptr: without white space.
std::string_view Stripped(std::string_view text, const std::string* chars, bool left, bool right);

// str.split and str.rsplit. A separator of nullptr is any white space; `most` < 0: no limit.
// Requires: the separator is not empty.
std::vector<std::string_view> SplitText(std::string_view text, const std::string* separator,
                                        int64_t most);
std::vector<std::string_view> SplitFromEnd(std::string_view text, const std::string* separator,
                                           int64_t most);

// str.splitlines: lines end at \n, \r, \r\n, \v, \f, U+001C to U+001E, U+0085, U+2028 and U+2029.
std::vector<std::string_view> SplitLines(std::string_view text, bool keep_ends);

// str.replace; `most` < 0: no limit.
std::string Replaced(Runtime& runtime, std::string_view text, std::string_view old,
                     std::string_view with, int64_t most);

// Returns whether the text has a cased character and none of another case.
bool HasOneCase(std::string_view text, bool upper);

}  // namespace ftd::jinja

// "Did you mean …?" for verbs, flags, settings and names.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ftd {

// The least number of insertions, deletions, substitutions and swaps of neighbours that turn `a`
// into `b`.
int EditDistance(std::string_view a, std::string_view b);

// The candidate closest to `word`, or "" when none is close enough to be what was meant. Of two
// that are equally close, one as long as `word` is preferred, then the first.
std::string Nearest(std::string_view word, const std::vector<std::string>& candidates);

}  // namespace ftd

// "Did you mean …?"
#pragma once

#include <string>
#include <vector>

namespace ftd {

// The known word with the least edit distance to `word`. Requires: `known` is not empty.
std::string Nearest(const std::string& word, const std::vector<std::string>& known);

}  // namespace ftd

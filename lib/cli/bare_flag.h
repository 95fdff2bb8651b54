// A flag whose value may be left out, before CLI11 reads the words: CLI11 would take any word after
// such a flag for its value.
#pragma once

#include <functional>
#include <string>
#include <vector>

namespace ftd {

struct BareFlag {
  std::vector<std::string> names;  // "--gradient-checkpointing"
  std::string value;               // of the bare flag
  // Returns whether the word after the flag is its value.
  std::function<bool(const std::string& word)> takes;
};

// `args` with "--name" made "--name=value" where no word that the flag takes follows it. Stops at a
// bare "--".
std::vector<std::string> WithBareValue(std::vector<std::string> args, const BareFlag& flag);

}  // namespace ftd

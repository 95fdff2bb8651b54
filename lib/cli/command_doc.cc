#include "lib/cli/command_doc.h"

#include <algorithm>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"

namespace ftd {
namespace {

bool IsWord(const std::string& text) {
  return !text.empty() && std::all_of(text.begin(), text.end(), [](unsigned char c) {
    return absl::ascii_isalnum(c) || c == '_' || c == '-';
  });
}

}  // namespace

// CLI11 writes choices as "TEXT:{a,b}"; our own flags as "a|b".
void SetValue(const std::string& type, ArgumentDoc* argument) {
  argument->value = type;
  const size_t braces = type.find(":{");
  if (braces != std::string::npos && absl::EndsWith(type, "}")) {
    const std::string list = type.substr(braces + 2, type.size() - braces - 3);
    argument->choices = absl::StrSplit(list, ',');
    argument->value = absl::StrJoin(argument->choices, "|");
    return;
  }
  const std::vector<std::string> words = absl::StrSplit(type, '|');
  if (words.size() > 1 && std::all_of(words.begin(), words.end(), IsWord)) {
    argument->choices = words;
    std::erase(argument->choices, "INT");  // a number, or one of the words
  }
}

// Flags with the same names are the same flag.
bool IsAmong(const ArgumentDoc& flag, const std::vector<ArgumentDoc>& flags) {
  return std::any_of(flags.begin(), flags.end(),
                     [&](const ArgumentDoc& other) { return other.names == flag.names; });
}

}  // namespace ftd

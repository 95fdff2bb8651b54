#include "lib/spec/repo_name.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_split.h"

namespace ftd::hub {

bool IsRepoName(const std::string& name) {
  // No "--" and no "..": the name becomes part of a directory's name ("models--OWNER--NAME").
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  if (parts.size() != 2 || name.size() > 200) return false;
  return std::all_of(parts.begin(), parts.end(), [](absl::string_view part) {
    const auto plain = [](char c) {
      return absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' || c == '.';
    };
    return !part.empty() && part[0] != '.' && part[0] != '-' && !absl::StrContains(part, "..") &&
           !absl::StrContains(part, "--") && std::all_of(part.begin(), part.end(), plain);
  });
}

}  // namespace ftd::hub

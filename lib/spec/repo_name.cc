#include "lib/spec/repo_name.h"

#include <algorithm>
#include <cstring>
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

// git-check-ref-format(1).
bool IsBranchName(const std::string& name) {
  constexpr size_t kMost = 200, kCommitDigits = 40;
  const auto is_hex = [](char c) { return absl::ascii_isxdigit(static_cast<unsigned char>(c)); };
  const bool is_commit =
      name.size() == kCommitDigits && std::all_of(name.begin(), name.end(), is_hex);
  if (name.empty() || name.size() > kMost || is_commit || name == "HEAD" || name[0] == '-' ||
      absl::StartsWith(name, "refs/") || absl::StrContains(name, "..") ||
      absl::StrContains(name, "@{") || name == "@")
    return false;
  const auto bad = [](char c) {
    return absl::ascii_iscntrl(static_cast<unsigned char>(c)) || std::strchr(" ~^:?*[\\", c);
  };
  if (std::any_of(name.begin(), name.end(), bad)) return false;
  const std::vector<absl::string_view> parts = absl::StrSplit(name, '/');
  return std::none_of(parts.begin(), parts.end(), [](absl::string_view part) {
    return part.empty() || part[0] == '.' || part.back() == '.' || absl::EndsWith(part, ".lock");
  });
}

}  // namespace ftd::hub

// Names of repositories.
#pragma once

#include <string>

namespace ftd::hub {

// Returns whether `name` is spelled like a repository: OWNER/NAME of letters, digits, '-', '_' and
// '.'.
bool IsRepoName(const std::string& name);

// Returns whether `name` may be a branch's, by git's rules, and is not a commit's id or a full ref.
bool IsBranchName(const std::string& name);

}  // namespace ftd::hub

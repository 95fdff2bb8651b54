// Names of repositories.
#pragma once

#include <string>

namespace ftd::hub {

// Returns whether `name` is spelled like a repository: OWNER/NAME of letters, digits, '-', '_' and
// '.'.
bool IsRepoName(const std::string& name);

}  // namespace ftd::hub

// How repositories are called.
#pragma once

#include <string>

namespace ftd::hub {

// Whether `name` is spelled like a repository: OWNER/NAME of letters, digits, '-', '_' and '.'.
bool IsRepoName(const std::string& name);

}  // namespace ftd::hub

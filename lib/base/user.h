// Users of this machine: names, groups, and what they may read.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/contained_file.h"

namespace ftd {

struct User {
  uid_t uid = 0;
  std::vector<gid_t> groups;  // its own and those that it is a member of
};

// Returns the user's name, or its number if it has no name here (in a container, say).
std::string UserName(uid_t uid);
// Returns the user of a name or number that UserName returned; none: nobody is called that.
std::optional<uid_t> UidNamed(const std::string& name);
// Asks the machine's user database. Without groups where it does not know the user.
User FindUser(uid_t uid);
// Returns whether the user is a member of the group of that name. False for an unknown group.
bool IsMember(const User& user, const std::string& group);

// Answers for another user what the kernel answers for this process: may it reach the directory or
// file, and read it? By owner, group, mode and access-control list of each folder on the way. Root
// may read everything. Errors: PERMISSION_DENIED NOT_OWNER, naming the path.
absl::Status CheckReadable(const OpenedFile& file, const User& user);
// Requires: `dir` without links. Reaching it is enough; whether it may be listed is not asked.
absl::Status CheckReachable(const std::filesystem::path& dir, const User& user);

}  // namespace ftd

#include "lib/base/user.h"

#include <grp.h>
#include <pwd.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstring>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr size_t kNameBuffer = 16384;  // more than any entry of a user database
constexpr unsigned kMayRead = 4, kMaySearch = 1;

// An entry of a POSIX access-control list, as the kernel stores it (acl(5),
// linux/posix_acl_xattr.h).
struct AclEntry {
  uint16_t tag = 0;
  uint16_t permissions = 0;
  uint32_t id = 0;
};
constexpr char kAclAttribute[] = "system.posix_acl_access";
constexpr size_t kAclHeaderBytes = 4, kMostAclBytes = 65536;
enum AclTag : uint16_t {
  kOwner = 1,
  kNamedUser = 2,
  kGroup = 4,
  kNamedGroup = 8,
  kMask = 16,
  kOther = 32
};

// Returns the list of a file; without one, the three entries that its mode stands for.
std::vector<AclEntry> AclOf(const fs::path& path, const struct stat& info) {
  const auto bits = [&](int shift) { return static_cast<uint16_t>((info.st_mode >> shift) & 7U); };
  std::vector<AclEntry> entries = {
      {kOwner, bits(6), 0}, {kGroup, bits(3), 0}, {kOther, bits(0), 0}};
  std::string bytes(kMostAclBytes, '\0');
  const ssize_t got = ::getxattr(path.c_str(), kAclAttribute, bytes.data(), bytes.size());
  if (got <= static_cast<ssize_t>(kAclHeaderBytes)) return entries;
  entries.resize((static_cast<size_t>(got) - kAclHeaderBytes) / sizeof(AclEntry));
  std::memcpy(entries.data(), bytes.data() + kAclHeaderBytes, entries.size() * sizeof(AclEntry));
  return entries;
}

// The algorithm of acl(5): the owner's entry, else that of the user's name, else any of the user's
// groups, else that of all others. The mask bounds all but the first and the last.
bool Allows(const std::vector<AclEntry>& acl, const struct stat& info, const User& user,
            unsigned wanted) {
  const auto in = [&](gid_t group) {
    return std::find(user.groups.begin(), user.groups.end(), group) != user.groups.end();
  };
  unsigned mask = 7, other = 0;
  bool in_a_group = false, a_group_allows = false;
  std::optional<unsigned> own, named;
  for (const AclEntry& entry : acl) {
    const bool allows = (entry.permissions & wanted) == wanted;
    if (entry.tag == kMask) mask = entry.permissions;
    if (entry.tag == kOther) other = entry.permissions;
    if (entry.tag == kOwner && info.st_uid == user.uid) own = entry.permissions;
    if (entry.tag == kNamedUser && entry.id == user.uid) named = entry.permissions;
    if ((entry.tag == kGroup && in(info.st_gid)) || (entry.tag == kNamedGroup && in(entry.id))) {
      in_a_group = true;
      a_group_allows = a_group_allows || allows;
    }
  }
  if (own.has_value()) return (*own & wanted) == wanted;
  if (named.has_value()) return (*named & mask & wanted) == wanted;
  if (in_a_group) return a_group_allows && (mask & wanted) == wanted;
  return (other & wanted) == wanted;
}

absl::Status Check(const fs::path& path, const fs::path& shown, const User& user, unsigned wanted) {
  struct stat info;
  if (::stat(path.c_str(), &info) != 0) return ErrnoError(errno, "stat " + shown.string());
  if (Allows(AclOf(path, info), info, user, wanted)) return absl::OkStatus();
  return Error(Reason::kNotOwner,
               absl::StrCat(UserName(user.uid), " may not ",
                            wanted == kMayRead ? "read " : "enter ", shown.string()));
}

}  // namespace

std::string UserName(uid_t uid) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(kNameBuffer);
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) == 0 && found != nullptr)
    return found->pw_name;
  return std::to_string(uid);
}

std::optional<uid_t> UidNamed(const std::string& name) {
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(kNameBuffer);
  if (getpwnam_r(name.c_str(), &entry, buffer.data(), buffer.size(), &found) == 0 &&
      found != nullptr)
    return found->pw_uid;
  uid_t uid = 0;
  if (absl::SimpleAtoi(name, &uid)) return uid;
  return std::nullopt;
}

User FindUser(uid_t uid) {
  User user{.uid = uid, .groups = {}};
  passwd entry{};
  passwd* found = nullptr;
  std::vector<char> buffer(kNameBuffer);
  if (getpwuid_r(uid, &entry, buffer.data(), buffer.size(), &found) != 0 || found == nullptr)
    return user;
  int count = 64;
  user.groups.resize(static_cast<size_t>(count));
  // The first call tells how many there are, if these do not suffice.
  while (getgrouplist(found->pw_name, found->pw_gid, user.groups.data(), &count) < 0)
    user.groups.resize(static_cast<size_t>(count));
  user.groups.resize(static_cast<size_t>(count));
  return user;
}

bool IsMember(const User& user, const std::string& group) {
  struct group entry {};
  struct group* found = nullptr;
  std::vector<char> buffer(kNameBuffer);
  int failed = 0;
  while ((failed = getgrnam_r(group.c_str(), &entry, buffer.data(), buffer.size(), &found)) ==
         ERANGE)
    buffer.resize(buffer.size() * 2);  // its members are in the buffer
  return failed == 0 && found != nullptr &&
         std::find(user.groups.begin(), user.groups.end(), found->gr_gid) != user.groups.end();
}

absl::Status CheckReachable(const fs::path& dir, const User& user) {
  if (user.uid == 0) return absl::OkStatus();
  fs::path folder;
  for (const fs::path& part : dir) {
    folder /= part;
    FTD_RETURN_IF_ERROR(Check(folder, folder, user, kMaySearch));
  }
  return absl::OkStatus();
}

// The file is asked for by its descriptor, since another may have its name by now.
absl::Status CheckReadable(const OpenedFile& file, const User& user) {
  if (user.uid == 0) return absl::OkStatus();
  FTD_RETURN_IF_ERROR(CheckReachable(file.path.parent_path(), user));
  return Check(absl::StrCat("/proc/self/fd/", file.fd.get()), file.path, user, kMayRead);
}

}  // namespace ftd

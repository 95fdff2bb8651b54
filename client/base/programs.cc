#include "client/base/programs.h"

#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {

absl::StatusOr<std::string> InTrustedHands(const std::string& program) {
  std::error_code error;
  const std::filesystem::path real = std::filesystem::canonical(program, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("run ", program));
  // Each directory up to the root: whoever can write to one can replace what is below it.
  for (std::filesystem::path path = real;; path = path.parent_path()) {
    struct stat found {};
    const bool known = lstat(path.c_str(), &found) == 0;
    const bool ours = known && (found.st_uid == 0 || found.st_uid == geteuid());
    // In a sticky directory only owners replace what is theirs.
    const bool guarded = (found.st_mode & (S_IWGRP | S_IWOTH)) == 0 ||
                         (S_ISDIR(found.st_mode) && (found.st_mode & S_ISVTX) != 0);
    if (!ours || !guarded) {
      return absl::PermissionDeniedError(
          absl::StrCat(path.string(), " can be changed by others than root and you"));
    }
    if (!path.has_relative_path()) return real.string();
  }
}

std::string ProgramBeside(const std::string& name) {
  std::error_code error;
  std::filesystem::path program = std::filesystem::read_symlink("/proc/self/exe", error);
  return program.replace_filename(name).string();
}

}  // namespace ftd

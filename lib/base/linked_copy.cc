#include "lib/base/linked_copy.h"

#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace ftd {

absl::Status LinkOrCopy(const std::filesystem::path& from, const std::filesystem::path& to) {
  std::error_code error;
  std::filesystem::create_hard_link(from, to, error);
  if (error) std::filesystem::copy_file(from, to, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("copy to ", to.string()));
  return SyncPath(to);
}

}  // namespace ftd

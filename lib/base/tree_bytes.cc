#include "lib/base/tree_bytes.h"

#include <sys/stat.h>

#include <algorithm>
#include <system_error>

namespace ftd {

int64_t TreeBytes(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  std::error_code error;
  constexpr int64_t kBlock = 512;  // of st_blocks, whatever the filesystem's are
  int64_t bytes = 0;
  fs::recursive_directory_iterator file(root, fs::directory_options::skip_permission_denied, error);
  for (; !error && file != fs::recursive_directory_iterator(); file.increment(error)) {
    std::error_code unread;
    if (file->is_symlink(unread) || !file->is_regular_file(unread)) continue;
    struct stat found;
    if (lstat(file->path().c_str(), &found) != 0) continue;
    // Of a file with holes what is there.
    bytes += std::min<int64_t>(found.st_size, found.st_blocks * kBlock);
  }
  return bytes;
}

}  // namespace ftd

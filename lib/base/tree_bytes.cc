#include "lib/base/tree_bytes.h"

#include <system_error>

namespace ftd {

int64_t TreeBytes(const std::filesystem::path& root) {
  namespace fs = std::filesystem;
  std::error_code error;
  int64_t bytes = 0;
  fs::recursive_directory_iterator file(root, fs::directory_options::skip_permission_denied, error);
  for (; !error && file != fs::recursive_directory_iterator(); file.increment(error)) {
    std::error_code unread;
    if (file->is_symlink(unread) || !file->is_regular_file(unread)) continue;
    const auto size = file->file_size(unread);
    if (!unread) bytes += static_cast<int64_t>(size);
  }
  return bytes;
}

}  // namespace ftd

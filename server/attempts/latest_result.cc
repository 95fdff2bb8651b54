#include "server/attempts/latest_result.h"

#include <filesystem>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/file.h"
#include "server/host/log.h"

namespace ftd {

namespace fs = std::filesystem;

// Relative, so that results/ can be moved or mounted elsewhere.
void PointLatestAt(const StateDir& state_dir, const std::string& name) {
  const fs::path link = state_dir.Results() / kLatestResult;
  const fs::path unfinished = absl::StrCat(link.string(), kUnfinishedMark);
  std::error_code error;
  fs::remove(unfinished, error);
  fs::create_symlink(name, unfinished, error);
  if (!error) fs::rename(unfinished, link, error);
  if (!error) return;
  LogWarning("cannot point ", link.string(), " at ", name, ": ", error.message());
  std::error_code ignored;
  fs::remove(unfinished, ignored);
}

void DropBrokenLatest(const StateDir& state_dir) {
  const fs::path link = state_dir.Results() / kLatestResult;
  std::error_code error;
  if (fs::is_symlink(fs::symlink_status(link, error)) && !fs::exists(link, error) && !error)
    fs::remove(link, error);
}

}  // namespace ftd

#include "server/lookahead/row_check.h"

#include <system_error>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/attempts/attempt_start.h"

namespace ftd {
namespace {

absl::StatusOr<SideWork> CheckIn(const std::string& worker, const StateDir& state_dir,
                                 const std::filesystem::path& path, const Job& job,
                                 const MemoryRoom& room, const SideWorkObserver& observer) {
  FTD_ASSIGN_OR_RETURN(const ScratchDir dir, ScratchDir::Create(path));
  FTD_ASSIGN_OR_RETURN(Fd lock, PrepareRowCheck(state_dir, job, room, dir.path()));
  return RunSideWorker(worker, dir.path(), std::move(lock), observer);
}

}  // namespace

absl::StatusOr<SideWork> CheckRows(const std::string& worker, const StateDir& state_dir,
                                   const std::filesystem::path& dir, const Job& job,
                                   const MemoryRoom& room, const SideWorkObserver& observer) {
  std::error_code error;
  std::filesystem::create_directories(dir.parent_path(), error);
  auto check = CheckIn(worker, state_dir, dir, job, room, observer);
  std::error_code not_empty;  // where other things are beside it
  std::filesystem::remove(dir.parent_path(), not_empty);
  return check;
}

}  // namespace ftd

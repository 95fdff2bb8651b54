#include "server/attempts/result_publisher.h"

#include <unistd.h>

#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/latest_result.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<bool> IsThere(const fs::path& path) {
  std::error_code error;
  const bool there = fs::exists(path, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("stat ", path.string()));
  return there;
}

// The name below results/ that an earlier try chose, or the first that is free: the job's name, or
// its id where somebody put something else there meanwhile.
absl::StatusOr<std::string> ChoosePlace(const StateDir& state_dir, const Job& job,
                                        const fs::path& attempt_dir) {
  auto chosen = ReadFile(attempt_dir / kPublishingMark);
  if (chosen.ok() && !chosen->empty()) return chosen;
  if (!chosen.ok() && !absl::IsNotFound(chosen.status())) return chosen.status();
  for (const std::string& name : {job.DisplayName(), job.id}) {
    FTD_ASSIGN_OR_RETURN(const bool taken, IsThere(state_dir.Results() / name));
    if (taken) continue;
    FTD_RETURN_IF_ERROR(WriteFileAtomically(attempt_dir / kPublishingMark, name));
    return name;
  }
  return absl::AlreadyExistsError(
      absl::StrCat(PublishedResult(state_dir, job).string(), " exists already; move it away"));
}

fs::path Published(const StateDir& state_dir, const std::string& name) {
  PointLatestAt(state_dir, name);
  return state_dir.Results() / name;
}

}  // namespace

fs::path PublishedResult(const StateDir& state_dir, const Job& job) {
  return state_dir.Results() / job.DisplayName();
}

absl::StatusOr<bool> IsPublishing(const fs::path& attempt_dir) {
  return IsThere(attempt_dir / kPublishingMark);
}

absl::StatusOr<ResultEvidence> FindResult(const StateDir& state_dir, const Job& job,
                                          const fs::path& attempt_dir) {
  FTD_ASSIGN_OR_RETURN(const bool publishing, IsPublishing(attempt_dir));
  if (publishing) return ResultEvidence::kPublishing;
  FTD_ASSIGN_OR_RETURN(const bool complete, IsThere(attempt_dir / kResultDir));
  if (complete) return ResultEvidence::kComplete;
  // ftd 0.1 left no mark before the rename.
  FTD_ASSIGN_OR_RETURN(const bool published, IsThere(PublishedResult(state_dir, job)));
  return published ? ResultEvidence::kPublishing : ResultEvidence::kNone;
}

absl::StatusOr<fs::path> PublishResult(const StateDir& state_dir, const Job& job,
                                       const fs::path& attempt_dir) {
  const fs::path from = attempt_dir / kResultDir;
  FTD_ASSIGN_OR_RETURN(const bool waits, IsThere(from));
  if (!waits) {
    // The rename was done, but perhaps the daemon died, or the disk failed, before it was durable.
    const auto place = ReadFile(attempt_dir / kPublishingMark);
    if (!place.ok() && !absl::IsNotFound(place.status())) return place.status();
    FTD_RETURN_IF_ERROR(SyncPath(state_dir.Results()));
    return Published(state_dir, place.value_or(job.DisplayName()));
  }
  FTD_ASSIGN_OR_RETURN(const std::string place, ChoosePlace(state_dir, job, attempt_dir));
  const absl::Status renamed = RenameDurably(from, state_dir.Results() / place);
  if (renamed.ok()) return Published(state_dir, place);
  const auto still_waits = IsThere(from);
  if (still_waits.ok() && *still_waits) unlink((attempt_dir / kPublishingMark).c_str());
  return renamed;
}

}  // namespace ftd

// Looks up what retention judges: the jobs, and what lies in the state directory for them.
#pragma once

#include <vector>

#include "absl/status/statusor.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/requests/retention.h"

namespace ftd {

// In the names of what is being removed: nobody serves it, and the next daemon removes the rest.
inline constexpr char kRemovedMark[] = ".tmp-removed-";

struct StoredFiles {
  std::vector<RetainedJob> jobs;
  std::vector<StoredFile> files;
};

// Jobs that have not ended, with what they read; all of them, so that this may take seconds.
absl::StatusOr<std::vector<RetainedJob>> UnendedJobs(JobStore& store);

// All jobs, and the files of those that have ended. Only kinds that the settings let go are looked
// for. What cannot be read now is left out. The sizes of results alone are filled in, and only
// where they matter.
absl::StatusOr<StoredFiles> FindStoredFiles(JobStore& store, const StateDir& state_dir,
                                            const RetentionSettings& settings);

// Entries of an attempt's directory that are logs: all but checkpoints.
std::vector<std::filesystem::path> LogsOf(const std::filesystem::path& attempt_dir);
// The directories of a job's attempts.
std::vector<std::filesystem::path> AttemptDirs(const StateDir& state_dir, const std::string& job);

// Bytes on the disk.
int64_t BytesOf(const StateDir& state_dir, const StoredFile& file);

// Renames a directory to one with kRemovedMark beside it, which is returned, so that it is there as
// a whole or not at all. NOT_FOUND: somebody else has removed it.
absl::StatusOr<std::filesystem::path> MoveToTrash(const std::filesystem::path& dir);
// OK also if nothing is there.
absl::Status RemoveTree(const std::filesystem::path& path);

// Removes what was kept for jobs to begin with that were then not queued, because ftd died, if that
// was before `before`.
void RemoveOrphanedStarts(JobStore& store, const StateDir& state_dir, absl::Time before);

// When the upload was sent last; none: it is not there.
std::optional<absl::Time> UploadTime(const std::filesystem::path& path);

}  // namespace ftd

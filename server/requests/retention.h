// What retention removes: one pure rule over jobs, files, settings and the time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "absl/time/time.h"
#include "server/host/options.h"
#include "server/jobs/upkeep.h"

namespace ftd {

// How long files are kept after the job that they belong to has ended; none: always.
struct RetentionSettings {
  std::optional<absl::Duration> checkpoints;  // the last one of a job; the others go at its end
  std::optional<absl::Duration> logs;
  std::optional<absl::Duration> uploads;  // after the last job that read it, or after it was sent
  std::optional<absl::Duration> results;
  std::optional<int64_t> result_bytes;  // of all results together: the oldest go first
};

RetentionSettings RetentionOf(const Options& options);

// What the rule has to know of a job.
struct RetainedJob {
  std::string id, name, owner;
  std::optional<absl::Time> end_time;        // none: it has not ended, and needs all that it has
  std::vector<std::string> uploads;          // names of those that it reads
  std::vector<std::filesystem::path> reads;  // its model's and its adapter's directory
};

// Something that is removed as a whole.
struct StoredFile {
  RemovalKind kind = RemovalKind::kCheckpoints;
  std::string job;  // id; empty for an upload
  std::filesystem::path path;
  int64_t bytes = 0;
  int64_t rank = 0;    // of checkpoints: the greatest of a job is its last
  bool start = false;  // of another job's checkpoint, which a retry begins with: as long as a last
  absl::Time time = {};  // of uploads: when it was sent
  bool begun = false;    // its removal was begun, and cannot be taken back
};

struct Unneeded {
  StoredFile file;
  std::string job_name;
  absl::Time since;  // nobody has needed it
};

// An upload that no job reads yet is kept for so long, whatever the settings say.
inline constexpr absl::Duration kUnusedUpload = absl::Hours(1);

// Chooses what goes now, out of `files`. What a job that has not ended has or reads never does.
// With `only_owner` that is left out of it which is not of that owner's jobs alone. Pure.
std::vector<Unneeded> ChooseUnneeded(const std::vector<RetainedJob>& jobs,
                                     const std::vector<StoredFile>& files,
                                     const RetentionSettings& settings, absl::Time now,
                                     const std::optional<std::string>& only_owner);

// What the jobs that have not ended read, beside uploads.
std::set<std::filesystem::path> PathsRead(const std::vector<RetainedJob>& jobs);
// Whether one of `read` is `path`, or lies in or above it.
bool IsRead(const std::set<std::filesystem::path>& read, const std::filesystem::path& path);

}  // namespace ftd

#include "server/requests/stored_files.h"

#include <sys/stat.h>

#include <iterator>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/manifest.h"
#include "lib/base/tree_bytes.h"
#include "server/host/log.h"
#include "server/host/uploads.h"
#include "server/jobs/job_states.h"
#include "server/jobs/wire.h"
#include "server/requests/owner_quotas.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// What cannot be listed now has nothing to remove now.
std::vector<fs::path> ReadableEntries(const fs::path& dir) {
  std::vector<fs::path> entries;
  std::error_code error;
  for (fs::directory_iterator it(dir, error), end; !error && it != end; it.increment(error))
    entries.push_back(it->path());
  return entries;
}

RetainedJob ToRetained(const Job& job) {
  RetainedJob retained{.id = job.id,
                       .name = job.name,
                       .owner = job.owner,
                       .end_time = std::nullopt,
                       .uploads = UploadsOf(job),
                       .reads = {}};
  if (IsFinal(job.state)) {
    retained.end_time = job.end_time.value_or(job.create_time);
    return retained;
  }
  for (const std::string& path : {job.model_dir, SpecOf(job)->lora().init_adapter()})
    if (fs::path(path).is_absolute()) retained.reads.push_back(WithoutLinks(path));
  return retained;
}

// By step, then attempt. A damaged checkpoint ranks below all good ones: it is never the last.
// None: it cannot be read now.
std::optional<int64_t> RankOf(const fs::path& checkpoint, int32_t attempt) {
  constexpr int kAttemptBits = 20;
  constexpr int64_t kBelow = int64_t{1} << 62;
  const int64_t place = (CheckpointStep(checkpoint) << kAttemptBits) + attempt;
  const absl::Status manifest = ReadManifest(checkpoint).status();
  if (manifest.ok()) return place;
  if (absl::IsNotFound(manifest) || absl::IsDataLoss(manifest)) return place - kBelow;
  return std::nullopt;
}

// Looks for the files of jobs, by paths without links, as the paths that jobs read are.
class Finder {
 public:
  Finder(JobStore& store, const StateDir& state_dir, const RetentionSettings& settings)
      : store_(store),
        state_dir_(state_dir),
        settings_(settings),
        root_(WithoutLinks(state_dir.root())) {}

  absl::Status AddFilesOf(const Job& job) {
    if (settings_.checkpoints.has_value()) AddCheckpoints(job);
    if (settings_.logs.has_value()) AddLogs(job);
    return AddResult(job);
  }

  void AddUploads() {
    if (!settings_.uploads.has_value()) return;
    for (const fs::path& upload : ReadableEntries(state_dir_.Uploads())) {
      const auto time = UploadTime(upload);
      if (!IsSha256(upload.filename().native()) || !time.has_value()) continue;
      files_.push_back({.kind = RemovalKind::kUpload, .job = {}, .path = upload, .time = *time});
    }
  }

  std::vector<StoredFile> TakeFiles() { return std::move(files_); }

 private:
  fs::path WithoutLinksIn(const fs::path& path) const {
    return root_ / path.lexically_relative(state_dir_.root());
  }

  // What is kept of another job's checkpoint for this one.
  std::vector<StoredFile> StartWeightsOf(const Job& job) {
    std::vector<StoredFile> found;
    const fs::path start = state_dir_.StartWeights(job.id);
    for (const fs::path& entry : ReadableEntries(start.parent_path())) {
      const bool begun = entry.filename() == kRemovedMark + start.filename().string();
      if (!begun && entry.filename() != start.filename()) continue;
      found.push_back({.kind = RemovalKind::kCheckpoints,
                       .job = job.id,
                       .path = WithoutLinksIn(entry),
                       .start = true,
                       .begun = begun});
    }
    return found;
  }

  // All of a job's, or none: which is the last has to be known.
  void AddCheckpoints(const Job& job) {
    std::vector<StoredFile> checkpoints = StartWeightsOf(job);
    for (const fs::path& attempt : AttemptDirs(state_dir_, job.id)) {
      int32_t number = 0;
      if (!absl::SimpleAtoi(attempt.filename().string(), &number)) continue;
      for (const fs::path& entry : ReadableEntries(attempt)) {
        const bool begun = absl::StartsWith(entry.filename().native(), kRemovedMark);
        if (CheckpointStep(entry) < 0 && !begun) continue;
        const auto rank = begun ? std::numeric_limits<int64_t>::min() : RankOf(entry, number);
        if (!rank.has_value()) return;
        checkpoints.push_back({.kind = RemovalKind::kCheckpoints,
                               .job = job.id,
                               .path = WithoutLinksIn(entry),
                               .rank = *rank,
                               .begun = begun});
      }
    }
    absl::c_sort(checkpoints, [](const auto& a, const auto& b) { return a.rank < b.rank; });
    std::move(checkpoints.begin(), checkpoints.end(), std::back_inserter(files_));
  }

  void AddLogs(const Job& job) {
    for (const fs::path& attempt : AttemptDirs(state_dir_, job.id)) {
      if (LogsOf(attempt).empty()) continue;
      files_.push_back({.kind = RemovalKind::kLogs,
                        .job = job.id,
                        .path = WithoutLinksIn(state_dir_.Attempts(job.id))});
      return;
    }
  }

  // Only what lies where ftd publishes is ftd's to remove.
  absl::Status AddResult(const Job& job) {
    const fs::path dir = job.result_dir;
    std::error_code gone;
    if (job.result_dir.empty() || dir.parent_path() != state_dir_.Results() ||
        !fs::exists(dir, gone))
      return absl::OkStatus();
    FTD_ASSIGN_OR_RETURN(const auto removals, store_.Removals(job.id));
    StoredFile result{.kind = RemovalKind::kResult, .job = job.id, .path = WithoutLinksIn(dir)};
    for (const Removal& removal : removals) result.begun |= removal.kind == RemovalKind::kResult;
    if (settings_.result_bytes.has_value()) result.bytes = TreeBytes(dir);
    files_.push_back(std::move(result));
    return absl::OkStatus();
  }

  JobStore& store_;
  const StateDir& state_dir_;
  const RetentionSettings& settings_;
  const fs::path root_;
  std::vector<StoredFile> files_;
};

}  // namespace

std::vector<fs::path> AttemptDirs(const StateDir& state_dir, const std::string& job) {
  return ReadableEntries(state_dir.Attempts(job));
}

std::vector<fs::path> LogsOf(const fs::path& attempt_dir) {
  std::vector<fs::path> logs = ReadableEntries(attempt_dir);
  std::erase_if(logs, [](const fs::path& entry) { return CheckpointStep(entry) >= 0; });
  return logs;
}

int64_t BytesOf(const StateDir& state_dir, const StoredFile& file) {
  std::error_code gone;
  if (file.kind == RemovalKind::kUpload) {
    const auto bytes = fs::file_size(file.path, gone);
    return gone ? 0 : static_cast<int64_t>(bytes);
  }
  if (file.kind != RemovalKind::kLogs) return TreeBytes(file.path);
  int64_t bytes = 0;
  for (const fs::path& attempt : AttemptDirs(state_dir, file.job)) {
    for (const fs::path& log : LogsOf(attempt)) {
      const auto size = fs::is_directory(log, gone) ? TreeBytes(log) : fs::file_size(log, gone);
      if (!gone) bytes += static_cast<int64_t>(size);
    }
  }
  return bytes;
}

std::optional<absl::Time> UploadTime(const fs::path& path) {
  struct stat found;
  if (lstat(path.c_str(), &found) != 0 || !S_ISREG(found.st_mode)) return std::nullopt;
  return absl::TimeFromTimespec(found.st_mtim);
}

absl::StatusOr<fs::path> MoveToTrash(const fs::path& dir) {
  const fs::path trash = dir.parent_path() / (kRemovedMark + dir.filename().string());
  FTD_RETURN_IF_ERROR(RemoveTree(trash));  // what a removal that was broken off has left there
  FTD_RETURN_IF_ERROR(RenameDurably(dir, trash));
  return trash;
}

absl::Status RemoveTree(const fs::path& path) {
  // Others are at work in there: a look at rows that has just ended removes its own directory.
  constexpr int kMostTries = 100;
  std::error_code error;
  for (int i = 0; i < kMostTries; ++i) {
    fs::remove_all(path, error);
    if (error != std::errc::no_such_file_or_directory && error != std::errc::directory_not_empty)
      break;
  }
  return error ? ErrnoError(error.value(), absl::StrCat("remove ", path.string()))
               : absl::OkStatus();
}

void RemoveOrphanedStarts(JobStore& store, const StateDir& state_dir, absl::Time before) {
  for (const fs::path& dir : ReadableEntries(state_dir.root() / "jobs")) {
    const std::string job = dir.filename();
    const fs::path start = state_dir.StartWeights(job);
    struct stat found;
    if (stat(start.c_str(), &found) != 0 && stat((start.string() + ".tmp").c_str(), &found) != 0)
      continue;
    if (absl::TimeFromTimespec(found.st_mtim) >= before ||
        !absl::IsNotFound(store.Get(job).status()))
      continue;
    LogInfo(About{.job = job}, "it was never queued; what was kept for it is removed");
    RemoveTree(dir).IgnoreError();  // tried again
  }
}

absl::StatusOr<std::vector<RetainedJob>> UnendedJobs(JobStore& store) {
  std::vector<RetainedJob> jobs;
  std::vector<JobState> unended;
  for (const JobState state : kAllJobStates)
    if (!IsFinal(state)) unended.push_back(state);
  FTD_RETURN_IF_ERROR(store.ForEach(unended, std::nullopt, [&](const Job& job) {
    jobs.push_back(ToRetained(job));
    return absl::OkStatus();
  }));
  return jobs;
}

absl::StatusOr<StoredFiles> FindStoredFiles(JobStore& store, const StateDir& state_dir,
                                            const RetentionSettings& settings) {
  StoredFiles found;
  Finder finder(store, state_dir, settings);
  // Before the jobs, so that a job which comes meanwhile is seen to need its upload.
  finder.AddUploads();
  FTD_RETURN_IF_ERROR(store.ForEach({}, std::nullopt, [&](const Job& job) -> absl::Status {
    found.jobs.push_back(ToRetained(job));
    return IsFinal(job.state) ? finder.AddFilesOf(job) : absl::OkStatus();
  }));
  found.files = finder.TakeFiles();
  return found;
}

}  // namespace ftd

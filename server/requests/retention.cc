#include "server/requests/retention.h"

#include <algorithm>
#include <map>
#include <set>
#include <utility>

#include "lib/base/contained_file.h"

namespace ftd {
namespace {

// The jobs that read an upload.
struct UploadUse {
  bool needed = false;  // by one that has not ended
  absl::Time end;       // of the last one
  std::set<std::string> owners;
};

bool IsOver(absl::Time since, const std::optional<absl::Duration>& kept, absl::Time now) {
  return kept.has_value() && since + *kept <= now;
}

// Chooses among a kind of files that a job has.
class Chooser {
 public:
  Chooser(const std::vector<RetainedJob>& jobs, const RetentionSettings& settings, absl::Time now)
      : settings_(settings), now_(now), read_(PathsRead(jobs)) {
    for (const RetainedJob& job : jobs) {
      by_id_[job.id] = &job;
      for (const std::string& upload : job.uploads) {
        UploadUse& use = uploads_[upload];
        use.needed |= !job.end_time.has_value();
        use.end = std::max(use.end, job.end_time.value_or(absl::InfinitePast()));
        use.owners.insert(job.owner);
      }
    }
  }

  // The greatest rank of each job's checkpoints.
  void SetLast(const std::vector<StoredFile>& files) {
    for (const StoredFile& file : files) {
      if (file.kind != RemovalKind::kCheckpoints || file.start) continue;
      const auto [last, is_first] = last_.try_emplace(file.job, file.rank);
      if (!is_first) last->second = std::max(last->second, file.rank);
    }
  }

  // Since when the file has not been needed, if it is to go for its age.
  std::optional<absl::Time> Outdated(const StoredFile& file) const {
    if (file.kind == RemovalKind::kUpload) return OutdatedUpload(file);
    const RetainedJob* job = JobOf(file);
    if (job == nullptr || !job->end_time.has_value()) return std::nullopt;
    if (file.begun) return job->end_time;
    if (IsRead(read_, file.path) || !HasExpired(file, *job->end_time)) return std::nullopt;
    return job->end_time;
  }

  // The job that has ended and whose file may go for its size.
  const RetainedJob* MayGo(const StoredFile& file) const {
    const RetainedJob* job = JobOf(file);
    const bool ended = job != nullptr && job->end_time.has_value();
    return ended && !IsRead(read_, file.path) ? job : nullptr;
  }

  const RetainedJob* JobOf(const StoredFile& file) const {
    const auto job = by_id_.find(file.job);
    return job == by_id_.end() ? nullptr : job->second;
  }

  // Whether the file is of that owner's jobs alone.
  bool IsOwn(const StoredFile& file, const std::string& owner) const {
    if (owner.empty()) return false;
    if (const RetainedJob* job = JobOf(file)) return job->owner == owner;
    const auto use = uploads_.find(file.path.filename());
    return use != uploads_.end() && use->second.owners == std::set<std::string>{owner};
  }

 private:
  bool HasExpired(const StoredFile& file, absl::Time end) const {
    switch (file.kind) {
      case RemovalKind::kCheckpoints:
        return settings_.checkpoints.has_value() &&
               ((!file.start && file.rank < last_.at(file.job)) ||
                IsOver(end, settings_.checkpoints, now_));
      case RemovalKind::kLogs:
        return IsOver(end, settings_.logs, now_);
      case RemovalKind::kResult:
        return IsOver(end, settings_.results, now_);
      case RemovalKind::kUpload:
        break;
    }
    return false;
  }

  std::optional<absl::Time> OutdatedUpload(const StoredFile& upload) const {
    absl::Time since = upload.time;
    if (const auto use = uploads_.find(upload.path.filename()); use != uploads_.end()) {
      if (use->second.needed) return std::nullopt;
      since = std::max(since, use->second.end);
    }
    if (upload.time + kUnusedUpload > now_ || !IsOver(since, settings_.uploads, now_))
      return std::nullopt;
    return since;
  }

  const RetentionSettings& settings_;
  const absl::Time now_;
  const std::set<std::filesystem::path> read_;
  std::map<std::string, const RetainedJob*> by_id_;
  std::map<std::string, UploadUse> uploads_;  // by name
  std::map<std::string, int64_t> last_;       // by job
};

// Of the results that are left, the oldest go until the others fit.
void ChooseForSize(std::vector<StoredFile> results, const Chooser& chooser, int64_t most_bytes,
                   std::vector<Unneeded>& chosen) {
  int64_t bytes = 0;
  for (const StoredFile& result : results) bytes += result.bytes;
  std::erase_if(results, [&](const auto& result) { return chooser.MayGo(result) == nullptr; });
  std::stable_sort(results.begin(), results.end(), [&](const auto& a, const auto& b) {
    return chooser.JobOf(a)->end_time < chooser.JobOf(b)->end_time;
  });
  for (StoredFile& result : results) {
    if (bytes <= most_bytes) return;
    bytes -= result.bytes;
    const absl::Time end = *chooser.JobOf(result)->end_time;
    chosen.push_back({.file = std::move(result), .job_name = {}, .since = end});
  }
}

std::optional<absl::Duration> Days(int64_t days) {
  if (days < 0) return std::nullopt;
  return absl::Hours(24) * days;
}

}  // namespace

RetentionSettings RetentionOf(const Options& options) {
  RetentionSettings settings{.checkpoints = Days(options.retention_checkpoint_days),
                             .logs = Days(options.retention_log_days),
                             .uploads = Days(options.retention_upload_days),
                             .results = Days(options.retention_result_days),
                             .result_bytes = std::nullopt};
  if (options.retention_result_mib > 0) settings.result_bytes = options.retention_result_mib << 20;
  return settings;
}

std::set<std::filesystem::path> PathsRead(const std::vector<RetainedJob>& jobs) {
  std::set<std::filesystem::path> read;
  for (const RetainedJob& job : jobs)
    if (!job.end_time.has_value()) read.insert(job.reads.begin(), job.reads.end());
  return read;
}

bool IsRead(const std::set<std::filesystem::path>& read, const std::filesystem::path& path) {
  return std::any_of(read.begin(), read.end(), [&](const auto& other) {
    return LiesUnder(other, path) || LiesUnder(path, other);
  });
}

std::vector<Unneeded> ChooseUnneeded(const std::vector<RetainedJob>& jobs,
                                     const std::vector<StoredFile>& files,
                                     const RetentionSettings& settings, absl::Time now,
                                     const std::optional<std::string>& only_owner) {
  Chooser chooser(jobs, settings, now);
  chooser.SetLast(files);
  std::vector<Unneeded> chosen;
  std::vector<StoredFile> results;  // that stay for their age
  for (const StoredFile& file : files) {
    if (const auto since = chooser.Outdated(file)) {
      chosen.push_back({.file = file, .job_name = {}, .since = *since});
    } else if (file.kind == RemovalKind::kResult) {
      results.push_back(file);
    }
  }
  if (settings.result_bytes.has_value())
    ChooseForSize(std::move(results), chooser, *settings.result_bytes, chosen);
  std::erase_if(chosen, [&](const Unneeded& unneeded) {
    return only_owner.has_value() && !chooser.IsOwn(unneeded.file, *only_owner);
  });
  for (Unneeded& unneeded : chosen)
    if (const RetainedJob* job = chooser.JobOf(unneeded.file)) unneeded.job_name = job->name;
  return chosen;
}

}  // namespace ftd

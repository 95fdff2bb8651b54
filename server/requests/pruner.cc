#include "server/requests/pruner.h"

#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <map>
#include <set>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/latest_result.h"
#include "server/host/log.h"
#include "server/requests/exporter.h"
#include "server/requests/stored_files.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// After the start, and after a job's end.
constexpr absl::Duration kSoon = absl::Minutes(1);
// No submit takes as long.
constexpr absl::Duration kLongestSubmit = absl::Hours(1);
// Results in other forms, which can be made again, after they were last asked for.
constexpr absl::Duration kExportsKept = absl::Hours(7 * 24);
// A pass that takes long is not followed by the next at once: at most a hundredth of the time.
constexpr int kRest = 100;

// For the log: what went of a kind, of one job.
struct Sum {
  int64_t count = 0;
  int64_t bytes = 0;
};

void LogPruned(const std::vector<Pruned>& pruned, const std::string& asked_by) {
  std::map<std::pair<std::string, RemovalKind>, Sum> sums;
  for (const Pruned& item : pruned) {
    const StoredFile& file = item.what.file;
    if (!item.status.ok()) {
      LogWarning(About{.job = file.job}, "cannot prune ", file.path.string(), ": ",
                 item.status.message());
      continue;
    }
    Sum& sum = sums[{file.job, file.kind}];
    ++sum.count;
    sum.bytes += file.bytes;
  }
  for (const auto& [what, sum] : sums) {
    LogInfo(About{.job = what.first}, "pruned ", RemovalKindName(what.second), ": ", sum.count,
            ", ", sum.bytes, " bytes", asked_by.empty() ? "" : ", for ", asked_by);
  }
}

}  // namespace

Pruner::Pruner(JobStore& store, const StateDir& state_dir, RetentionSettings settings,
               absl::Duration interval, std::function<void(RemovalKind, int64_t)> on_removed)
    : store_(store),
      state_dir_(state_dir),
      settings_(settings),
      interval_(interval),
      on_removed_(std::move(on_removed)),
      start_time_(absl::Now()),
      start_(SteadyNow()) {}

void Pruner::Sweep(const StateDir& state_dir) { RemoveUnfinished(state_dir.Results()); }

void Pruner::Start() {
  thread_ = std::thread([this] { Run(); });
}

void Pruner::OnJobEnded() {
  job_ended_ = true;
  waker_.Wake();
}

void Pruner::Stop() {
  ending_ = true;
  waker_.Wake();
  if (thread_.joinable()) thread_.join();
}

void Pruner::Run() {
  const absl::Duration soon = std::min(kSoon, interval_);
  Moment due = SteadyNow() + soon, rested = due;
  while (!ending_) {
    if (job_ended_.exchange(false)) due = std::min(due, std::max(SteadyNow() + soon, rested));
    if (SteadyNow() < due) {
      waker_.WaitUntil(due);
      continue;
    }
    const Moment begin = SteadyNow();
    RemoveOrphanedStarts(store_, state_dir_, CautiousNow() - kLongestSubmit);
    if (const auto pruned = Prune(std::nullopt, "", /*dry_run=*/false); !pruned.ok())
      LogWarning("cannot prune now: ", pruned.status().message());
    rested = SteadyNow() + kRest * (SteadyNow() - begin);
    due = std::max(SteadyNow() + interval_, rested);
  }
}

absl::Time Pruner::CautiousNow() const {
  return std::min(absl::Now(), start_time_ + (SteadyNow() - start_));
}

absl::StatusOr<std::vector<Pruned>> Pruner::Choose(const std::optional<std::string>& only_owner,
                                                   absl::Time now) {
  FTD_ASSIGN_OR_RETURN(const StoredFiles found, FindStoredFiles(store_, state_dir_, settings_));
  std::vector<Pruned> chosen;
  for (Unneeded& unneeded : ChooseUnneeded(found.jobs, found.files, settings_, now, only_owner)) {
    unneeded.file.bytes = BytesOf(state_dir_, unneeded.file);
    chosen.push_back({.what = std::move(unneeded), .status = absl::OkStatus()});
  }
  return chosen;
}

absl::StatusOr<std::vector<Pruned>> Pruner::Prune(const std::optional<std::string>& only_owner,
                                                  const std::string& asked_by, bool dry_run) {
  const absl::MutexLock one_at_a_time(&pruning_);
  const absl::Time now = asked_by.empty() ? CautiousNow() : absl::Now();
  FTD_ASSIGN_OR_RETURN(std::vector<Pruned> pruned, Choose(only_owner, now));
  if (dry_run) return pruned;
  FTD_RETURN_IF_ERROR(CloseResults(pruned, asked_by));
  for (Pruned& item : pruned) {
    if (ending_) {
      item.status = absl::CancelledError("ftd is stopping");
    } else if (item.status.ok()) {
      item.status = Remove(item.what.file, asked_by);
    }
    if (item.status.ok()) on_removed_(item.what.file.kind, item.what.file.bytes);
  }
  LogPruned(pruned, asked_by);
  Exporter::Prune(store_, state_dir_, only_owner, asked_by.empty() ? now - kExportsKept : now);
  return pruned;
}

// First stored, then looked at once more: a job that was submitted before that is seen to read the
// result, and one that is submitted later finds it gone.
absl::Status Pruner::CloseResults(std::vector<Pruned>& pruned, const std::string& asked_by) {
  std::vector<Pruned*> results;
  for (Pruned& item : pruned) {
    if (item.what.file.kind != RemovalKind::kResult) continue;
    item.status = Record(item.what.file, asked_by);
    if (item.status.ok() && !item.what.file.begun) results.push_back(&item);
  }
  if (results.empty()) return absl::OkStatus();
  const auto jobs = UnendedJobs(store_);
  const auto read = jobs.ok() ? PathsRead(*jobs) : std::set<fs::path>();
  for (Pruned* item : results) {
    if (jobs.ok() && !IsRead(read, item->what.file.path)) continue;
    FTD_RETURN_IF_ERROR(store_.ForgetRemoval(item->what.file.job, RemovalKind::kResult));
    item->status =
        jobs.ok() ? absl::FailedPreconditionError("a job reads it by now") : jobs.status();
  }
  return absl::OkStatus();
}

absl::Status Pruner::Record(const StoredFile& file, const std::string& asked_by) {
  FTD_ASSIGN_OR_RETURN(const bool there, store_.RecordRemoval(file.job, {.kind = file.kind,
                                                                         .bytes = file.bytes,
                                                                         .time = absl::Now(),
                                                                         .owner = asked_by}));
  return there ? absl::OkStatus() : absl::NotFoundError("its job is gone");
}

absl::Status Pruner::Remove(const StoredFile& file, const std::string& asked_by) {
  switch (file.kind) {
    case RemovalKind::kUpload:
      // Perhaps it has just been sent once more.
      if (UploadTime(file.path) != file.time)
        return absl::FailedPreconditionError("it was sent again");
      return unlink(file.path.c_str()) == 0 ? absl::OkStatus()
                                            : ErrnoError(errno, "unlink " + file.path.string());
    case RemovalKind::kLogs:
      FTD_RETURN_IF_ERROR(RemoveLogs(file));
      return Record(file, asked_by);
    case RemovalKind::kCheckpoints:
      if (file.begun) return RemoveTree(file.path);
      break;
    case RemovalKind::kResult:
      FTD_RETURN_IF_ERROR(RemoveTree(state_dir_.Exports(file.job)));
      break;
  }
  FTD_ASSIGN_OR_RETURN(const fs::path trash, MoveToTrash(file.path));
  if (file.kind == RemovalKind::kResult) DropBrokenLatest(state_dir_);
  if (file.kind == RemovalKind::kCheckpoints) FTD_RETURN_IF_ERROR(Record(file, asked_by));
  return RemoveTree(trash);
}

// One after the other: each is of use without the others, and what is left goes next time.
absl::Status Pruner::RemoveLogs(const StoredFile& file) {
  for (const fs::path& attempt : AttemptDirs(state_dir_, file.job))
    for (const fs::path& log : LogsOf(attempt)) FTD_RETURN_IF_ERROR(RemoveTree(log));
  return RemoveTree(state_dir_.DataReport(file.job));
}

}  // namespace ftd

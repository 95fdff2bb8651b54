// The state directory: what lies where, and the lock that keeps a second daemon out.
//
//   ftd.db                              jobs, attempts, state events
//   uploads/<sha256>                    dataset files, by content
//   tokens/<key>/                       tokenised datasets, by content (lib/data/)
//   jobs/<id>/attempts/<n>/             the contract with the worker (proto/ftd/v1/worker.proto)
//   jobs/<id>/exports/<form>/           results in another form
//   row_checks/                         looks at rows that no job has yet
//   generation/<n>/                     workers that answer with a model, of the running daemon
//   results/<name or id>/               published results
//   device.lock                         held by the worker that computes, without a GPU
//   addresses.json                      where the running daemon listens
//   ftd.lock                            held by the running daemon
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/file.h"

namespace ftd {

class StateDir {
 public:
  // Creates what is missing and takes the lock, which the returned object holds.
  // FAILED_PRECONDITION STATE_DIR_IN_USE when another daemon has it; PATH_NOT_WRITABLE; also when
  // results/ is not on the same filesystem as jobs/, because a result is published by rename.
  static absl::StatusOr<StateDir> Open(const std::filesystem::path& root);

  const std::filesystem::path& root() const { return root_; }
  std::filesystem::path Database() const { return root_ / "ftd.db"; }
  std::filesystem::path Uploads() const { return root_ / "uploads"; }
  std::filesystem::path TokenCache() const { return root_ / "tokens"; }
  std::filesystem::path Attempts(const std::string& job_id) const {
    return root_ / "jobs" / job_id / "attempts";
  }
  std::filesystem::path AttemptDir(const std::string& job_id, int32_t number) const {
    return Attempts(job_id) / std::to_string(number);
  }
  // What the job's rows are, as ftd.v1.DataReport in JSON, where they were tokenised before its
  // first attempt.
  std::filesystem::path DataReport(const std::string& job_id) const {
    return root_ / "jobs" / job_id / "data_report.json";
  }
  // Of a look at the job's rows; gone once that is over.
  std::filesystem::path RowCheck(const std::string& job_id) const {
    return root_ / "jobs" / job_id / "row_check";
  }
  // The weights that the job begins with, where they are another one's checkpoint.
  std::filesystem::path StartWeights(const std::string& job_id) const {
    return root_ / "jobs" / job_id / "start";
  }
  // The job's result in other forms. They are made again when they are gone.
  std::filesystem::path Exports(const std::string& job_id) const {
    return root_ / "jobs" / job_id / "exports";
  }
  // Of looks at rows that no job has yet. Emptied at each start.
  std::filesystem::path RowChecks() const { return root_ / "row_checks"; }
  // Of workers that generate. Emptied at each start.
  std::filesystem::path Generation() const { return root_ / "generation"; }
  std::filesystem::path Results() const { return root_ / "results"; }
  std::filesystem::path DeviceLock() const { return root_ / "device.lock"; }
  std::filesystem::path Addresses() const { return root_ / "addresses.json"; }

  // With less free space, in bytes, nothing useful can be trained or saved.
  static constexpr int64_t kReserveBytes = 16 << 20;

  // Of the disk of jobs and results, in bytes; none where that cannot be told.
  struct Space {
    int64_t free = 0;
    int64_t total = 0;
  };
  std::optional<Space> DiskSpace() const;

  // Checks that a result could be published now: PATH_NOT_WRITABLE, or RESOURCE_EXHAUSTED
  // DISK_RESERVE when the disk is as good as full.
  absl::Status CheckResultsWritable() const;
  // The same by making something there: the only sure test, but a slow one.
  absl::Status ProbeResults() const;

 private:
  StateDir(std::filesystem::path root, Fd lock) : root_(std::move(root)), lock_(std::move(lock)) {}
  std::filesystem::path root_;
  Fd lock_;
  // When results could last be written, by the steady clock. On the heap, because a StateDir is
  // moved.
  std::unique_ptr<std::atomic<int64_t>> writable_ns_ = std::make_unique<std::atomic<int64_t>>(0);
};

}  // namespace ftd

// steps.log: one fixed-size row per optimizer step, after a header with the plan and a heartbeat.
//
// The worker appends rows with write(2); any process may map or read the file meanwhile. A row
// counts once it is whole and its CRC agrees. Row i of a file is step first_step + i. All numbers
// are little-endian.
//
//   header  u64 magic, u32 bytes of a row, u32 bytes of the header, i64 first_step,
//           i64 steps_planned, u64 heartbeat, u32 CRC of the columns, zeros up to 64 bytes;
//           then the columns: "NAME TYPE\n" each, zeros up to a multiple of 8
//   row     the columns' values, then u32 CRC of them; the CRCs are CRC-32 (zlib's)
//
// Columns are fields of ftd.v1.StepMetrics, with type i64, f64, f32, or us (a time: i64
// microseconds since the epoch). NaN in a column of an `optional` field means that it is absent. A
// reader skips columns that it does not know and leaves out fields that have no column, so daemon
// and worker may be of different releases.
//
// Version 1 of the format, which ftd 0.1 writes, has a header of 64 bytes without columns: they are
// always the same sixteen, and 0 for `mfu` means that it is absent. It can be read, and written for
// a daemon that knows no other (AttemptRequest.step_log_version).
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"
#include "lib/base/file.h"
#include "lib/runlog/step_layout.h"

namespace ftd {

// The newest version of the format.
inline constexpr int32_t kStepLogVersion = 2;

// The header's fields.
struct StepLogInfo {
  int64_t first_step = 0;     // step of row 0
  int64_t steps_planned = 0;  // of the whole job
  uint64_t heartbeat = 0;     // grows while the worker makes progress
};

// Creates and appends. Append and Beat may be called from different threads; Append from one only.
class StepLogWriter {
 public:
  // Creates the file; an existing one is an error. `version`: 1, or kStepLogVersion.
  static absl::StatusOr<StepLogWriter> Create(const std::filesystem::path& path, int64_t first_step,
                                              int64_t steps_planned,
                                              int32_t version = kStepLogVersion);
  StepLogWriter(StepLogWriter&&) noexcept;
  StepLogWriter& operator=(StepLogWriter&&) noexcept;
  ~StepLogWriter();

  // Requires: step.step() is one more than the last row's (first_step for the first).
  absl::Status Append(const v1::StepMetrics& step);
  // Bumps the heartbeat; visible to readers at once.
  void Beat();
  // fsync.
  absl::Status Sync();

 private:
  StepLogWriter(Fd fd, std::filesystem::path path, void* header, int32_t version);
  Fd fd_;
  std::filesystem::path path_;
  void* header_ = nullptr;
  int32_t version_ = 0;
};

// Reads any rows of a log, while it is written to as well. Thread-safe.
class StepLogReader {
 public:
  // NOT_FOUND before the worker has created the file, DATA_LOSS when it is not a step log.
  static absl::StatusOr<StepLogReader> Open(const std::filesystem::path& path);

  StepLogInfo info() const {
    return {header_.first_step, header_.steps_planned, header_.heartbeat};
  }
  // What tells logs of the same path apart: everything of the header that does not change.
  uint32_t identity() const { return step_layout::Identity(header_); }
  // How many rows the file has room for; the last of them need not count.
  absl::StatusOr<int64_t> RowsBySize() const;
  // At most `max_rows` rows from index `from` on, up to the first that does not count.
  absl::StatusOr<std::vector<v1::StepMetrics>> Steps(int64_t from, int64_t max_rows) const;
  // Appends their losses to `losses`. Rows that are known to count need no check, which costs more
  // than all else.
  enum class Check { kCrc, kNone };
  absl::Status Losses(int64_t from, int64_t max_rows, Check check,
                      std::vector<double>* losses) const;

 private:
  StepLogReader() = default;
  template <typename Function>
  absl::Status ForEachRow(int64_t from, int64_t max_rows, Check check, Function function) const;

  std::filesystem::path path_;
  Fd fd_;
  step_layout::Header header_;
  step_layout::Layout layout_;
};

// The header. NOT_FOUND before the worker has created the file, DATA_LOSS when it is not a step
// log.
absl::StatusOr<StepLogInfo> ReadStepLogInfo(const std::filesystem::path& path);

// Whole rows from row index `from` on, at most `max_rows` (0: all). No file: no rows.
absl::StatusOr<std::vector<v1::StepMetrics>> ReadSteps(const std::filesystem::path& path,
                                                       int64_t from = 0, int64_t max_rows = 0);

// The last row that counts: the file's last one may be half written or damaged. nullopt: there is
// none, or no file.
absl::StatusOr<std::optional<v1::StepMetrics>> ReadLastStep(const std::filesystem::path& path);

// The steps of a job from its attempts' logs, oldest first: where two logs have the same step, the
// newer counts, and what an older log has from a newer log's first step on is dropped.
absl::StatusOr<std::vector<v1::StepMetrics>> MergeStepLogs(
    const std::vector<std::filesystem::path>& logs);

}  // namespace ftd

// steps.log: one fixed-size row an optimizer step, behind a header that carries the plan and a
// heartbeat.
//
// The worker appends rows with write(2); any process may map or read the file meanwhile. A row
// counts once it is whole and its CRC agrees. Row i of a file is step first_step + i.
// Little-endian, 64-byte header, 128-byte rows.
#pragma once

#include <cstdint>
#include <filesystem>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/file.h"

namespace ftd {

// One optimizer step. The units are those of ftd.v1.StepMetrics.
struct StepRow {
  int64_t step = 0;
  double epoch = 0;
  double loss = 0;
  double grad_norm = 0;
  double learning_rate = 0;
  int64_t tokens = 0;
  int64_t tokens_total = 0;
  double padding_ratio = 0;
  double tokens_per_second = 0;
  double step_seconds = 0;
  double data_wait_seconds = 0;
  int64_t samples = 0;
  int64_t time_unix_micros = 0;
  double entropy = 0;              // 0 in logs of workers that did not measure it
  double mean_token_accuracy = 0;  // likewise
  double mfu = 0;                  // 0 where it is not known; the file keeps it as a float
};

// The header's fields.
struct StepLogInfo {
  int64_t first_step = 0;     // step of row 0
  int64_t steps_planned = 0;  // of the whole job
  uint64_t heartbeat = 0;     // grows while the worker makes progress
};

// Creates and appends. Append and Beat may be called from different threads; Append from one only.
class StepLogWriter {
 public:
  // Creates the file; an existing one is an error.
  static absl::StatusOr<StepLogWriter> Create(const std::filesystem::path& path, int64_t first_step,
                                              int64_t steps_planned);
  StepLogWriter(StepLogWriter&&) noexcept;
  StepLogWriter& operator=(StepLogWriter&&) noexcept;
  ~StepLogWriter();

  // Requires: row.step is one more than the last row's (first_step for the first).
  absl::Status Append(const StepRow& row);
  // Bumps the heartbeat; visible to readers at once.
  void Beat();
  // fsync.
  absl::Status Sync();

 private:
  StepLogWriter(Fd fd, std::filesystem::path path, void* header);
  Fd fd_;
  std::filesystem::path path_;
  void* header_ = nullptr;
};

// The header. NOT_FOUND before the worker has created the file, DATA_LOSS when it is no step log.
absl::StatusOr<StepLogInfo> ReadStepLogInfo(const std::filesystem::path& path);

// Whole rows from row index `from` on, at most `max_rows` (0: all). No file: no rows.
absl::StatusOr<std::vector<StepRow>> ReadStepRows(const std::filesystem::path& path,
                                                  int64_t from = 0, int64_t max_rows = 0);

// The steps of a job from its attempts' logs, oldest first: where two logs tell of one step, the
// newer counts, and what an older log has at or behind a newer log's first step is dropped.
absl::StatusOr<std::vector<StepRow>> MergeStepLogs(const std::vector<std::filesystem::path>& logs);

}  // namespace ftd

// TensorBoard event files (scalars and texts), tags as transformers' Trainer writes them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/file.h"

namespace ftd {

// Appends to one events.out.tfevents file.
class TensorboardWriter {
 public:
  // Creates the directory and a new file in it.
  static absl::StatusOr<TensorboardWriter> Create(const std::filesystem::path& dir);

  // One point of the log (logging_window.h), with the tags of the table of metrics.
  absl::Status Append(const v1::StepMetrics& point);
  // eval/loss, eval/entropy, eval/mean_token_accuracy, eval/runtime; at its own time if it has one,
  // else at `otherwise`.
  absl::Status Append(const v1::Evaluation& evaluation, absl::Time otherwise);
  // The answer and its prompt as the text samples/INDEX, at the sample's own time.
  absl::Status Append(const v1::GeneratedSample& sample);
  // fsync.
  absl::Status Sync();

 private:
  using Scalar = std::pair<const char*, double>;
  absl::Status AppendScalars(double wall_time, int64_t step, const std::vector<Scalar>& scalars);
  TensorboardWriter(Fd fd, std::filesystem::path path)
      : fd_(std::move(fd)), path_(std::move(path)) {}
  absl::Status AppendRecord(const std::string& payload);
  Fd fd_;
  std::filesystem::path path_;
};

}  // namespace ftd

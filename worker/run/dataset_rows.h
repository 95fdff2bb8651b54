// An attempt's rows: read, tokenised, or taken from the cache of earlier jobs.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>

#include "absl/status/statusor.h"
#include "ftd/v1/worker.pb.h"
#include "lib/data/dataset_reader.h"
#include "lib/data/row_report.h"
#include "lib/data/row_source.h"
#include "lib/spec/train_spec.h"
#include "worker/run/control_server.h"
#include "worker/run/run_observer.h"

namespace ftd {

// Everything that decides about tokens is here or in the encoder; the cache's key is made of both.
DatasetOptions DatasetOptionsOf(const v1::AttemptRequest& request, const TrainSpec& spec,
                                const Tokenizer* tokenizer);

struct PreparedRows {
  std::unique_ptr<RowSource> train;
  std::unique_ptr<RowSource> eval;  // may be null
  RowReport report;
};

// Checks that files which are not ours still have the bytes that the job was submitted with, then
// tokenises on `threads` threads. Tells `observer` of progress, warns of rows that were left out,
// cut or empty, and reports what the rows are. CANCELLED when `flags` say stop. Errors:
// DATASET_INVALID, MODEL_*, DISK_FULL.
absl::StatusOr<PreparedRows> PrepareRows(const v1::AttemptRequest& request, const TrainSpec& spec,
                                         const std::filesystem::path& run_dir, int threads,
                                         RunObserver& observer, const StopFlags& flags);

}  // namespace ftd

// An attempt's rows: read, tokenised, or taken from the cache of earlier jobs.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "artifacts/dataset/token_cache.h"
#include "artifacts/train_spec.h"
#include "ftd/v1/worker.pb.h"
#include "worker/control_server.h"
#include "worker/run_observer.h"

namespace ftd {

// Checks that files which are not ours still have the bytes that the job was submitted with, then
// tokenises on `threads` threads. Tells `observer` of progress, and warns of rows that were left
// out. CANCELLED when `flags` say stop. Errors: DATASET_INVALID, MODEL_*, DISK_FULL.
absl::StatusOr<TokenizedDataset> PrepareRows(const v1::AttemptRequest& request,
                                             const TrainSpec& spec,
                                             const std::filesystem::path& run_dir, int threads,
                                             RunObserver& observer, const StopFlags& flags);

}  // namespace ftd

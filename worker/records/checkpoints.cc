#include "worker/records/checkpoints.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/linked_copy.h"
#include "lib/base/manifest.h"
#include "worker/records/sample_log.h"

namespace ftd {

namespace fs = std::filesystem;

namespace {

constexpr char kBaseWeightsFile[] = "base_weights.sha256";

}  // namespace

// SealDirectory writes the manifest last, flushes and renames; until then the directory has a name
// that no reader looks at.
absl::StatusOr<v1::Checkpoint> WriteCheckpoint(const engine::Trainer& trainer,
                                               const fs::path& run_dir,
                                               const std::string& spec_hash,
                                               const CheckpointRecords& records) {
  const auto start = std::chrono::steady_clock::now();
  const std::string name = CheckpointName(trainer.steps_taken());
  const fs::path final_dir = run_dir / name;
  FTD_ASSIGN_OR_RETURN(const ScratchDir scratch,
                       ScratchDir::Create(run_dir / absl::StrCat(kUnfinishedMark, name)));
  trainer.SaveState(scratch.path());
  FTD_RETURN_IF_ERROR(
      WriteFileAtomically(scratch.path() / "trainer_state.json", records.trainer_state_json));
  if (!records.samples_jsonl.empty())
    FTD_RETURN_IF_ERROR(WriteFileAtomically(scratch.path() / kSamplesFile, records.samples_jsonl));
  if (!records.weights_digest.empty())
    FTD_RETURN_IF_ERROR(WriteFileAtomically(scratch.path() / kBaseWeightsFile,
                                            absl::StrCat(records.weights_digest, "\n")));
  Manifest manifest{trainer.steps_taken(), spec_hash, 0};
  FTD_RETURN_IF_ERROR(SealDirectory(scratch.path(), final_dir, manifest));
  FTD_ASSIGN_OR_RETURN(manifest, ReadManifest(final_dir));
  v1::Checkpoint checkpoint;
  checkpoint.set_step(manifest.step);
  checkpoint.set_path(final_dir.string());
  checkpoint.set_size_bytes(manifest.total_bytes);
  const std::chrono::duration<double> taken = std::chrono::steady_clock::now() - start;
  checkpoint.set_write_seconds(taken.count());
  return checkpoint;
}

absl::Status CheckBaseWeights(const fs::path& checkpoint, const std::string& model_dir,
                              const std::string& weights_digest) {
  const auto before = ReadFile(checkpoint / kBaseWeightsFile);
  // Of all weights, which the checkpoint has itself, or of an older release.
  if (absl::IsNotFound(before.status())) return absl::OkStatus();
  FTD_RETURN_IF_ERROR(before.status());
  if (absl::StripAsciiWhitespace(*before) == weights_digest) return absl::OkStatus();
  return Error(Reason::kModelCorrupt,
               absl::StrCat(model_dir,
                            " has other weights than those that this job began to train on, and "
                            "its checkpoints belong to those; bring them back, and begin a new "
                            "job with --start-from"));
}

// Links or copies a checkpoint of another attempt. It keeps its manifest, so it verifies as before.
absl::Status AdoptCheckpoint(const fs::path& checkpoint, const fs::path& run_dir) {
  const fs::path adopted = run_dir / checkpoint.filename();
  std::error_code error;
  if (fs::exists(adopted, error)) return absl::OkStatus();
  const auto name = absl::StrCat(kUnfinishedMark, checkpoint.filename().string());
  FTD_ASSIGN_OR_RETURN(const ScratchDir scratch, ScratchDir::Create(run_dir / name));
  fs::directory_iterator entries(checkpoint, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("read ", checkpoint.string()));
  for (const auto& entry : entries) {
    const fs::path to = scratch.path() / entry.path().filename();
    FTD_RETURN_IF_ERROR(LinkOrCopy(entry.path(), to));
  }
  FTD_RETURN_IF_ERROR(SyncPath(scratch.path()));
  return RenameDurably(scratch.path(), adopted);
}

// Oldest first. The best evaluation's checkpoint is spared on top of the `keep` newest.
void PruneCheckpoints(const fs::path& run_dir, int keep, int64_t also_keep_step) {
  std::vector<std::pair<int64_t, fs::path>> checkpoints;
  std::error_code ignored;
  for (const auto& entry : fs::directory_iterator(run_dir, ignored)) {
    const int64_t step = CheckpointStep(entry.path());
    if (step >= 0) checkpoints.emplace_back(step, entry.path());
  }
  std::sort(checkpoints.begin(), checkpoints.end());
  for (size_t i = 0; i + static_cast<size_t>(keep) < checkpoints.size(); ++i) {
    if (checkpoints[i].first != also_keep_step) fs::remove_all(checkpoints[i].second, ignored);
  }
}

void RemoveCheckpointsAfter(const fs::path& run_dir, int64_t step) {
  std::error_code ignored;
  std::vector<fs::path> after;
  for (const auto& entry : fs::directory_iterator(run_dir, ignored))
    if (CheckpointStep(entry.path()) > step) after.push_back(entry.path());
  for (const fs::path& checkpoint : after) fs::remove_all(checkpoint, ignored);
}

}  // namespace ftd

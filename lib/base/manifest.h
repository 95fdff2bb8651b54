// MANIFEST.json: what makes a directory of files trustworthy after any crash.
//
// A directory is written as `.tmp-NAME`, each file synced, the manifest (size and sha256 of each
// file) last, the directory synced and renamed to NAME, the parent synced. A reader trusts only a
// directory whose manifest verifies.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ftd {

struct Manifest {
  int64_t step = 0;
  std::string spec_hash;  // sha256 of the resolved spec's JSON
  int64_t total_bytes = 0;
};

// Seals `tmp_dir` (fsync of all files, MANIFEST.json, fsync) and renames it to `final_dir`,
// replacing nothing: an existing `final_dir` is an error.
absl::Status SealDirectory(const std::filesystem::path& tmp_dir,
                           const std::filesystem::path& final_dir, const Manifest& manifest);

// Checks that every file that the manifest names is there with its size and sha256. DATA_LOSS
// CHECKPOINT_CORRUPT; other errors are of reading, and say nothing of the bytes. `progress` is
// called after each MiB.
absl::StatusOr<Manifest> VerifyDirectory(const std::filesystem::path& dir,
                                         const std::function<void()>& progress = nullptr);

inline constexpr char kManifestName[] = "MANIFEST.json";

// Returns the sha256 that the manifest says a file of the directory has, in lower-case hex.
absl::StatusOr<std::string> DigestInManifest(const std::filesystem::path& dir,
                                             const std::string& file);

// The manifest alone, without reading the files. For listings.
absl::StatusOr<Manifest> ReadManifest(const std::filesystem::path& dir);

// 120 → "checkpoint-120".
std::string CheckpointName(int64_t step);

// "checkpoint-120" → 120, else -1.
int64_t CheckpointStep(const std::filesystem::path& dir);

}  // namespace ftd

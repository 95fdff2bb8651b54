// JudgeModel's answers, remembered while a model's files are what they were: a large tokenizer.json
// takes half a second to judge, which a submit should not cost twice.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/statusor.h"
#include "lib/model/model_config.h"
#include "server/host/small_cache.h"

namespace ftd {

// A fingerprint of all that a model's directory holds, links followed: shards of a hub's cache are
// links to blobs. Empty when the directory cannot be read. Any change of a file is another one.
std::string FingerprintOf(const std::filesystem::path& model_dir);

// Thread-safe.
class ModelVerdicts {
 public:
  // As JudgeModel. Only a good verdict is remembered, and it counts until a file of the directory
  // has another inode, size or time of change. `fingerprint`: FingerprintOf the directory, from
  // just now.
  absl::StatusOr<ModelConfig> Judge(const std::filesystem::path& model_dir,
                                    const std::string& fingerprint);

 private:
  struct Verdict {
    std::string fingerprint;
    ModelConfig config;
  };

  // A machine has a handful of models.
  SmallCache<Verdict> verdicts_{/*most_entries=*/256, /*most_bytes=*/4096};
};

}  // namespace ftd

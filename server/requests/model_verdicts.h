// JudgeModel's answers, remembered while a model's files are what they were: a large tokenizer.json
// takes half a second to judge, which a submit should not cost twice.
#pragma once

#include <filesystem>
#include <map>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "lib/model/model_config.h"

namespace ftd {

// A fingerprint of all that a model's directory holds, links followed: shards of a hub's cache are
// links to blobs. Empty when the directory cannot be read. Any change of a file is another one.
std::string FingerprintOf(const std::filesystem::path& model_dir);

// Thread-safe.
class ModelVerdicts {
 public:
  // As JudgeModel. Only a good verdict is remembered, and it counts until a file of the directory
  // has another inode, size or time of change.
  absl::StatusOr<ModelConfig> Judge(const std::filesystem::path& model_dir);

 private:
  struct Verdict {
    std::string fingerprint;
    ModelConfig config;
  };

  absl::Mutex mutex_;
  std::map<std::filesystem::path, Verdict> verdicts_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd

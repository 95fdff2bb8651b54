#include "server/requests/model_verdicts.h"

#include <sys/stat.h>

#include <set>

#include "absl/strings/str_cat.h"
#include "lib/spec/judge.h"

namespace ftd {
namespace {

constexpr size_t kMostVerdicts = 256;

}  // namespace

// ctime changes with any write, also with one that sets mtime back.
std::string FingerprintOf(const std::filesystem::path& dir) {
  std::error_code error;
  std::set<std::string> entries;
  for (std::filesystem::directory_iterator it(dir, error), end; !error && it != end;
       it.increment(error)) {
    struct stat file {};
    if (stat(it->path().c_str(), &file) != 0) continue;
    entries.insert(absl::StrCat(it->path().filename().string(), "\n", file.st_dev, " ", file.st_ino,
                                " ", file.st_size, " ", file.st_ctim.tv_sec, ".",
                                file.st_ctim.tv_nsec, "\n"));
  }
  std::string fingerprint;
  for (const std::string& entry : entries) fingerprint += entry;
  return fingerprint;
}

// Judged without the lock: two submits of one model may both do it, which costs time only.
absl::StatusOr<ModelConfig> ModelVerdicts::Judge(const std::filesystem::path& model_dir) {
  // Taken before the files are read. If they change meanwhile, the verdict is stored under a
  // fingerprint that no longer fits, and is never used.
  std::string fingerprint = FingerprintOf(model_dir);
  {
    absl::MutexLock lock(&mutex_);
    const auto known = verdicts_.find(model_dir);
    if (!fingerprint.empty() && known != verdicts_.end() &&
        known->second.fingerprint == fingerprint)
      return known->second.config;
  }
  absl::StatusOr<ModelConfig> config = JudgeModel(model_dir);
  if (!config.ok()) return config;
  absl::MutexLock lock(&mutex_);
  // Crude but bounded: a machine has a handful of models.
  if (verdicts_.size() >= kMostVerdicts) verdicts_.clear();
  verdicts_[model_dir] = {std::move(fingerprint), *config};
  return config;
}

}  // namespace ftd

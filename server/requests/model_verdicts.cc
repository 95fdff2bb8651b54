#include "server/requests/model_verdicts.h"

#include <sys/stat.h>

#include <memory>
#include <set>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/spec/judge.h"

namespace ftd {
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

// Two submits of one model may both judge it, which costs time only. If the files change while they
// are read, the verdict is kept under a fingerprint that no longer fits, and is never used.
absl::StatusOr<ModelConfig> ModelVerdicts::Judge(const std::filesystem::path& model_dir,
                                                 const std::string& fingerprint) {
  const auto known = verdicts_.Find(model_dir.native());
  if (!fingerprint.empty() && known != nullptr && known->fingerprint == fingerprint)
    return known->config;
  FTD_ASSIGN_OR_RETURN(ModelConfig config, JudgeModel(model_dir));
  verdicts_.Keep(model_dir.native(), std::make_shared<Verdict>(Verdict{fingerprint, config}));
  return config;
}

}  // namespace ftd

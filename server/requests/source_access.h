// Which directories and files of this machine a caller may have a job read.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "lib/base/contained_file.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/requests/access.h"
#include "server/requests/caller.h"

namespace ftd {

// The daemon can read more than those who call it. On a unix socket a caller may name what the
// caller can read without the daemon. Over TCP nothing of this machine is known but what is under
// the roots. Thread-safe.
class SourceAccess {
 public:
  // `store` and `state_dir` must outlive it. `model_roots`: folders whose models and adapters may
  // be named over TCP. `visibility`: of results.
  SourceAccess(JobStore& store, const StateDir& state_dir, std::vector<std::string> model_roots,
               Visibility visibility)
      : access_(store, visibility), state_dir_(state_dir), model_roots_(std::move(model_roots)) {}

  // May the caller name `dir` (without links) as a model's or an adapter's? All of its files that
  // ftd would read must be files of the directory, and readable for the caller. A published result
  // may be named by whoever may download it. NOT_FOUND MODEL_NOT_FOUND: as if it were not there.
  // PERMISSION_DENIED NOT_OWNER, naming the file of it that the caller may not read;
  // FAILED_PRECONDITION MODEL_CORRUPT: a link leads out of it.
  absl::Status CheckModelDir(const std::filesystem::path& dir, const Caller& caller) const;

  // May the caller name this file, which is under a dataset root? NOT_OWNER if it may not be read.
  static absl::Status CheckFile(const OpenedFile& file, const Caller& caller);

 private:
  bool IsResultFor(const std::filesystem::path& dir, const Caller& caller) const;

  const Access access_;
  const StateDir& state_dir_;
  const std::vector<std::string> model_roots_;
};

}  // namespace ftd

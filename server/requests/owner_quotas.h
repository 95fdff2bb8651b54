// What one owner may have at once, so that nobody takes what all share. Admins are not limited.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "lib/base/steady_clock.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/requests/caller.h"

namespace ftd {

// Names of the uploads that a job reads.
std::vector<std::string> UploadsOf(const Job& job);

// 0 bytes: any number.
struct OwnerLimits {
  int64_t streams = 256;
  int64_t upload_bytes = 0;  // in uploads that its jobs use, or that it has sent since ftd started
  int64_t stored_bytes = 0;  // in checkpoints, logs and results of its jobs
};

// Thread-safe. Each refusal is RESOURCE_EXHAUSTED QUOTA_EXCEEDED.
class OwnerQuotas {
 public:
  // Both must outlive it.
  OwnerQuotas(JobStore& store, const StateDir& state_dir, OwnerLimits limits)
      : store_(store), state_dir_(state_dir), limits_(limits) {}

  // A stream that is open for as long as what is returned lives.
  absl::StatusOr<std::shared_ptr<void>> OpenStream(const Caller& caller);
  // Before a file of `announced` bytes is taken in; it counts from now on.
  absl::Status AdmitUpload(const Caller& caller, const std::string& sha256, int64_t announced);
  // Before a job is queued. With a limit this looks at the directories of all of the owner's jobs.
  absl::Status CheckStored(const Caller& caller) const;

 private:
  absl::StatusOr<std::vector<Job>> JobsOf(const std::string& owner) const;

  JobStore& store_;
  const StateDir& state_dir_;
  const OwnerLimits limits_;
  // Shared with the slots, which may outlive this.
  struct Streams {
    absl::Mutex mutex;
    std::map<std::string, int64_t> open ABSL_GUARDED_BY(mutex);  // by owner
  };
  const std::shared_ptr<Streams> streams_ = std::make_shared<Streams>();
  absl::Mutex mutex_;
  struct Sent {
    int64_t bytes = 0;
    Moment time;
  };
  // By owner and SHA-256.
  std::map<std::string, std::map<std::string, Sent>> sent_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd

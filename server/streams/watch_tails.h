// The tails of the jobs that are watched.
#pragma once

#include <map>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/host/task_pool.h"
#include "server/streams/watch_hub.h"
#include "server/streams/watch_tail.h"

namespace ftd {

// Thread-safe.
class WatchTails {
 public:
  // Both must outlive it, and all tails.
  WatchTails(TaskPool& lane, WatchHub& hub) : lane_(lane), hub_(hub) {}

  // The tail of a job: one for all who hold it, and gone when nobody does. UNAVAILABLE STOPPING.
  absl::StatusOr<std::shared_ptr<WatchTail>> Of(const std::string& job_id);

 private:
  // Shared with the holders, which may outlive this.
  struct Registry {
    absl::Mutex mutex;
    std::map<std::string, std::weak_ptr<WatchTail>> tails ABSL_GUARDED_BY(mutex);
  };

  TaskPool& lane_;
  WatchHub& hub_;
  const std::shared_ptr<Registry> registry_ = std::make_shared<Registry>();
};

}  // namespace ftd

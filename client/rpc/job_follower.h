// Follows one job's events over any number of broken streams.
#pragma once

#include <chrono>
#include <deque>
#include <memory>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "client/rpc/connection.h"
#include "lib/base/file.h"

namespace ftd {

// One piece of a follower's news.
struct FollowItem {
  enum Kind {
    kEvent,     // `event`
    kLost,      // the stream broke; `status` says why; it is being sought again
    kRegained,  // and is there again
    kEnd,       // the last item: OK after the final event, else why there is no going on
  };
  Kind kind = kEvent;
  ftd::v1::WatchJobResponse event;
  absl::Status status;
};

// Calls WatchJob in a thread of its own and calls again with the last resume_token whenever the
// stream ends before the job did. An answer that another call would not change (no such job, not
// allowed …) ends it, and so do five minutes without contact. The destructor ends the stream and
// joins the thread.
class JobFollower {
 public:
  // `connection` must outlive this.
  JobFollower(Connection& connection, std::string job);
  ~JobFollower();
  JobFollower(const JobFollower&) = delete;
  JobFollower& operator=(const JobFollower&) = delete;

  // Readable while items wait; for poll(2).
  int fd() const { return wake_.get(); }

  // Takes the items that wait, oldest first; perhaps none. Does not block.
  std::deque<FollowItem> Take();

 private:
  void Follow();
  // One stream, until it ends. `final` becomes true when an event brings a final state.
  grpc::Status Stream(bool* final);
  absl::Status BreakToStatus(const grpc::Status& broken) const;
  void Put(FollowItem item);
  // Until `time` is over or ftd is back. False when the follower is being destroyed.
  bool Pause(std::chrono::milliseconds time);

  Connection& connection_;
  const std::string job_;
  std::string token_;  // of the thread
  bool lost_ = false;  // of the thread
  std::chrono::steady_clock::time_point last_contact_ = std::chrono::steady_clock::now();

  Fd wake_;
  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::deque<FollowItem> items_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace ftd

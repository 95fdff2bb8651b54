// The newest messages of a job's watch, read and encoded once for all watchers that have caught up.
#pragma once

#include <grpcpp/support/byte_buffer.h>
#include <grpcpp/support/slice.h>

#include <cstddef>
#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "server/host/task_pool.h"
#include "server/streams/watch_hub.h"
#include "server/streams/watch_reader.h"

namespace ftd {

// A message as it goes over the wire.
grpc::Slice EncodeMessage(const v1::WatchJobResponse& message);

// Begins with the first watcher that has caught up. It reads what is new on the lane when the hub
// says so, and then tells those that wait under its key. It holds the last messages, a few
// thousand, by number; a watcher that falls out of these reads for itself until it has caught up.
// Thread-safe.
class WatchTail : public Watcher {
 public:
  // A watcher that is further behind than this many messages, and for too long, gets of steps in a
  // row the newest alone.
  static constexpr size_t kFarBehind = 256;
  static constexpr size_t kMostMessages = 2048, kMostBytes = 2 << 20;

  struct Taken {
    grpc::ByteBuffer bytes;
    WatchPosition after;
  };

  // Both must outlive it, and what it posts on the lane.
  WatchTail(const std::string& job_id, TaskPool& lane, WatchHub& hub)
      : key_("tail of " + job_id), lane_(lane), hub_(hub) {}

  // Whose news in the hub are its watchers'.
  const std::string& key() const { return key_; }

  // The number of the next message for one who has seen all up to `position`; nullopt: the tail
  // cannot tell.
  std::optional<int64_t> Find(const WatchPosition& position) const;
  // Begins, unless it has, with a reader that gave nothing more after `position`, and is not at its
  // end. Then Find.
  std::optional<int64_t> Join(const WatchPosition& position, WatchReader&& reader);

  // Takes message `*next` and moves on; nullopt: there is none yet. With `collapse`, if it is far
  // behind, steps in a row become the newest, counted. OUT_OF_RANGE: it is not held any more.
  // Otherwise an error of the reader, for whoever is at the end.
  absl::StatusOr<std::optional<Taken>> Take(int64_t* next, bool collapse);
  // The final event and all before it were taken.
  bool AtEnd(int64_t next) const;
  // A watcher has left out so many steps.
  void CountCollapsed(int64_t steps) { hub_.collapsed_steps += steps; }

  // Watcher: of the hub's news of the job.
  void Advance() override;
  void End(const absl::Status&) override {}  // its watchers are ended

 private:
  struct Message {
    grpc::Slice bytes;
    WatchPosition after;
    bool is_step = false;
  };

  // The lane's work.
  void Read();
  void Push(Message message);
  std::optional<int64_t> FindLocked(const WatchPosition& position) const
      ABSL_SHARED_LOCKS_REQUIRED(mutex_);

  const std::string key_;
  TaskPool& lane_;
  WatchHub& hub_;
  mutable absl::Mutex mutex_;
  // Set once; used by Read alone.
  std::unique_ptr<WatchReader> reader_ ABSL_GUARDED_BY(mutex_);
  bool reading_ ABSL_GUARDED_BY(mutex_) = false;
  bool again_ ABSL_GUARDED_BY(mutex_) = false;  // news came meanwhile
  bool at_end_ ABSL_GUARDED_BY(mutex_) = false;
  absl::Status error_ ABSL_GUARDED_BY(mutex_);
  std::deque<Message> messages_ ABSL_GUARDED_BY(mutex_);
  int64_t first_ ABSL_GUARDED_BY(mutex_) = 0;     // number of the first
  WatchPosition before_ ABSL_GUARDED_BY(mutex_);  // it
  size_t bytes_ ABSL_GUARDED_BY(mutex_) = 0;
  std::weak_ptr<WatchTail> self_;
  friend class WatchTails;
};

}  // namespace ftd

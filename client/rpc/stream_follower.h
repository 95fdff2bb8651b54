// Follows a stream of ftd over any number of breaks.
#pragma once

#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <deque>
#include <functional>
#include <memory>
#include <thread>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "client/rpc/connection.h"
#include "client/rpc/rpc_status.h"
#include "grpcpp/client_context.h"
#include "grpcpp/support/sync_stream.h"
#include "lib/base/file.h"

namespace ftd {

// What a follower has to report.
template <class Message>
struct StreamItem {
  enum Kind {
    kEvent,     // `event`
    kLost,      // the stream broke; `status` says why; it is being sought again
    kRegained,  // and is there again
    kEnd,       // the last item: OK after the last event, else the error that ended it
  };
  Kind kind = kEvent;
  Message event;
  absl::Status status;
};

// A stream as its follower uses it, on the follower's thread.
template <class Message>
struct StreamCalls {
  // Opens the stream where the one before it broke.
  std::function<std::unique_ptr<grpc::ClientReader<Message>>(grpc::ClientContext*)> open;
  // Notes a message. True if the stream has said all with it and may end with OK.
  std::function<bool(const Message&)> note;
};

// When a stream that ended too early is opened again, whatever it carries.
class StreamRetries {
 public:
  explicit StreamRetries(const Connection& connection) : connection_(connection) {}

  // A message came. True if a break was reported before.
  bool NoteMessage();
  // The stream ended too early. Returns an error if it cannot resume: another call would get the
  // same answer (no such job, not allowed …), or there was no contact for five minutes.
  absl::Status Judge(const grpc::Status& ended) const;
  // Whether the break is the first since the last message; why.
  bool NoteBreak() { return !std::exchange(lost_, true); }
  absl::Status Why(const grpc::Status& ended) const;
  // How long to wait before the next call.
  std::chrono::milliseconds NextPause(const grpc::Status& ended);

 private:
  const Connection& connection_;
  std::chrono::steady_clock::time_point last_message_ = std::chrono::steady_clock::now();
  std::chrono::milliseconds pause_{0};
  bool lost_ = false;
};

// Reads a stream in a thread of its own, and opens it again whenever it ends too early. The
// destructor ends the stream and joins the thread.
template <class Message>
class StreamFollower {
 public:
  using Item = StreamItem<Message>;

  // `connection` must outlive this. With `most_items` waiting the stream is not read on.
  StreamFollower(Connection& connection, StreamCalls<Message> calls, size_t most_items)
      : connection_(connection),
        calls_(std::move(calls)),
        most_items_(most_items),
        retries_(connection),
        wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
        thread_([this] { Follow(); }) {}
  ~StreamFollower() {
    {
      absl::MutexLock lock(&mutex_);
      stop_ = true;
      if (context_ != nullptr) context_->TryCancel();
    }
    thread_.join();
  }
  StreamFollower(const StreamFollower&) = delete;
  StreamFollower& operator=(const StreamFollower&) = delete;

  // Readable while items wait; for poll(2).
  int fd() const { return wake_.get(); }

  // Takes the items that wait, oldest first; perhaps none. Does not block.
  std::deque<Item> Take() {
    absl::MutexLock lock(&mutex_);
    uint64_t count = 0;
    (void)!read(wake_.get(), &count, sizeof count);
    return std::exchange(items_, {});
  }

 private:
  void Follow() {
    bool all = false;
    while (true) {
      const grpc::Status ended = Stream(&all);
      if (ended.ok() && all) return Put({Item::kEnd, {}, absl::OkStatus()});
      if (const absl::Status judged = retries_.Judge(ended); !judged.ok()) {
        return Put({Item::kEnd, {}, judged});
      }
      if (retries_.NoteBreak()) Put({Item::kLost, {}, retries_.Why(ended)});
      if (!Pause(retries_.NextPause(ended))) return;
    }
  }

  // One stream, until it ends.
  grpc::Status Stream(bool* all) {
    grpc::ClientContext context;
    {
      absl::MutexLock lock(&mutex_);
      if (stop_) return grpc::Status::CANCELLED;
      context_ = &context;
    }
    auto reader = calls_.open(&context);
    Item item;
    while (reader->Read(&item.event)) {
      if (retries_.NoteMessage()) Put({Item::kRegained, {}, {}});
      *all = calls_.note(item.event) || *all;
      Put(item);
    }
    grpc::Status status = reader->Finish();
    absl::MutexLock lock(&mutex_);
    context_ = nullptr;
    return status;
  }

  void Put(Item item) {
    const auto may_put = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
      return stop_ || items_.size() < most_items_;
    };
    absl::MutexLock lock(&mutex_, absl::Condition(&may_put));
    items_.push_back(std::move(item));
    const uint64_t one = 1;
    (void)!write(wake_.get(), &one, sizeof one);
  }

  // Until `time` is over or ftd is back. False when the follower is being destroyed.
  bool Pause(std::chrono::milliseconds time) {
    using std::chrono::milliseconds, std::chrono::steady_clock;
    const auto end = steady_clock::now() + time;
    for (bool regained = false; !regained && steady_clock::now() < end;) {
      {
        absl::MutexLock lock(&mutex_);
        if (stop_) return false;
      }
      const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now());
      regained = connection_.Rest(std::min(left, milliseconds(50)));
    }
    return true;
  }

  Connection& connection_;
  const StreamCalls<Message> calls_;
  const size_t most_items_;
  StreamRetries retries_;  // of the thread

  Fd wake_;
  absl::Mutex mutex_;
  bool stop_ ABSL_GUARDED_BY(mutex_) = false;
  grpc::ClientContext* context_ ABSL_GUARDED_BY(mutex_) = nullptr;
  std::deque<Item> items_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace ftd

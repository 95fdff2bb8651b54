// A server-side stream: sends what a source gives, one write in flight, until the source ends or
// the client goes.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <atomic>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/host/stream_source.h"
#include "server/host/task_pool.h"
#include "server/streams/grpc_status.h"
#include "server/streams/watch_hub.h"

namespace ftd {

// An open source, and what wakes its stream.
template <typename Message>
struct OpenedStream {
  std::unique_ptr<StreamSource<Message>> source;
  WatchHub* hub = nullptr;  // must outlive the stream; null: it waits for nothing
  std::string key = "";     // whose news in the hub are the stream's
};

// Keeps itself alive until gRPC is done with it.
//
// `busy_` is a token: its holder alone reads the source, writes and finishes. It is taken by
// whichever thread finds the stream idle, passes to the lane and to the write in flight, and is
// kept forever by Finish. No lock is held while gRPC is called.
template <typename Message>
class StreamReactor : public grpc::ServerWriteReactor<Message>, public Watcher {
 public:
  using Open = std::function<absl::StatusOr<OpenedStream<Message>>()>;

  // Opens the stream on `lane`, where all of its looks at the disk are made too, and which must
  // outlive it. An error, also of a hub that refuses it, ends it.
  static StreamReactor* Start(TaskPool& lane, Open open) {
    auto self = std::shared_ptr<StreamReactor>(new StreamReactor(lane));
    self->self_ = self;
    lane.Post([self, open = std::move(open)] { self->Begin(open); });
    return self.get();
  }

  // Called by the hub. If a write is in flight, its OnWriteDone looks for the news.
  void Advance() override {
    if (TakeToken()) Pump(/*on_lane=*/false);
  }

  void End(const absl::Status& status) override {
    SetEnd(status);
    Advance();
  }

  // Has the token: it came with the write.
  void OnWriteDone(bool ok) override {
    InOrder();
    if (!ok) SetEnd(absl::CancelledError("the client went away"));
    Pump(/*on_lane=*/false);
  }

  // Called by gRPC on any thread, also while a write is in flight.
  void OnCancel() override {
    End(absl::CancelledError("the client went away"));
    InOrder();  // OnDone comes after this has returned
  }

  // The last call of gRPC. The reactor may be destroyed as `last` goes out of scope.
  void OnDone() override {
    InOrder();
    if (hub_ != nullptr) hub_->Remove(this);
    const std::shared_ptr<StreamReactor> last = std::move(self_);
  }

 private:
  explicit StreamReactor(TaskPool& lane) : lane_(lane) {}

  // Requires: the caller has the token, which the stream has from the start.
  void Begin(const Open& open) {
    auto opened = Ended() ? absl::CancelledError() : open();
    absl::Status status = opened.status();
    if (opened.ok()) {
      source_ = std::move(opened->source);
      hub_ = opened->hub;
      if (hub_ != nullptr) status = hub_->Add(opened->key, self_);
    }
    if (!status.ok()) SetEnd(status);
    Pump(/*on_lane=*/true);
  }

  // The first reason to end is the one that the client sees.
  void SetEnd(const absl::Status& status) {
    absl::MutexLock lock(&mutex_);
    if (!end_status_.has_value()) end_status_ = ToGrpc(status);
  }

  // Returns false if another thread has the token; that one then looks again before it gives it
  // back.
  bool TakeToken() {
    absl::MutexLock lock(&mutex_);
    if (std::exchange(busy_, true)) {
      news_ = true;
      return false;
    }
    return true;
  }

  // True when the token was given back: nobody had anything for this stream meanwhile.
  bool GiveTokenBack() {
    absl::MutexLock lock(&mutex_);
    if (end_status_.has_value() || std::exchange(news_, false)) return false;
    busy_ = false;
    return true;
  }

  // Returns a copy, so that no lock is held while gRPC is called.
  std::optional<grpc::Status> Ended() {
    absl::MutexLock lock(&mutex_);
    return end_status_;
  }

  // Called before an operation of gRPC, and by what follows it on another thread. gRPC orders the
  // two, but by means that ThreadSanitizer does not see.
  void InOrder() { in_order_.exchange(true, std::memory_order_acq_rel); }

  void FinishWith(const grpc::Status& status) {
    InOrder();
    this->Finish(status);
  }

  // Requires: the caller has the token. Writes the next message, or finishes, or gives the token
  // back; takes it to the lane if only the disk can tell.
  void Pump(bool on_lane) {
    while (true) {
      if (const auto ended = Ended()) return FinishWith(*ended);
      auto next = source_->NextFromMemory();
      if (!next.has_value() && !on_lane) {
        return lane_.Post([self = self_] { self->Pump(/*on_lane=*/true); });
      }
      if (!next.has_value()) next = source_->Next();
      // An error of the source ends the stream.
      if (!next->ok()) return FinishWith(ToGrpc(next->status()));
      std::optional<Message>& message = **next;
      if (!message.has_value()) {
        if (source_->AtEnd()) return FinishWith(grpc::Status::OK);
        message = source_->Idle();
      }
      if (message.has_value()) {
        message_ = *std::move(message);
        InOrder();
        return this->StartWrite(&message_);
      }
      if (GiveTokenBack()) return;
    }
  }

  TaskPool& lane_;
  std::unique_ptr<StreamSource<Message>> source_;
  WatchHub* hub_ = nullptr;
  Message message_;
  std::shared_ptr<StreamReactor> self_;
  std::atomic<bool> in_order_ = false;
  absl::Mutex mutex_;
  bool busy_ ABSL_GUARDED_BY(mutex_) = true;
  bool news_ ABSL_GUARDED_BY(mutex_) = false;  // Advance was called while busy
  std::optional<grpc::Status> end_status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd

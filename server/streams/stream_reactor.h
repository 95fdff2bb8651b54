// A server-side stream: sends what a source gives, one write in flight, until the source ends or
// the client goes.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <memory>
#include <optional>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "server/host/stream_source.h"
#include "server/streams/grpc_status.h"
#include "server/streams/watch_hub.h"

namespace ftd {

// Keeps itself alive until gRPC is done with it.
//
// `busy_` is a token: its holder alone reads the source, writes and finishes. It is taken by
// whichever thread finds the stream idle, passes to the write in flight, and is kept forever by
// Finish. No lock is held while gRPC is called.
template <typename Message>
class StreamReactor : public grpc::ServerWriteReactor<Message>, public Watcher {
 public:
  // With a `hub` the stream also lives on news of `job_id`; the hub must outlive it. A hub that
  // refuses it ends it.
  static StreamReactor* Start(std::unique_ptr<StreamSource<Message>> source,
                              WatchHub* hub = nullptr, const std::string& job_id = "") {
    auto self = std::shared_ptr<StreamReactor>(new StreamReactor(std::move(source), hub));
    StreamReactor* reactor = self.get();
    reactor->self_ = self;
    const absl::Status added = hub == nullptr ? absl::OkStatus() : hub->Add(job_id, self);
    added.ok() ? reactor->Advance() : reactor->End(added);
    return reactor;
  }

  // A stream that ends at once.
  static StreamReactor* Refuse(const absl::Status& status) {
    auto self = std::shared_ptr<StreamReactor>(new StreamReactor(nullptr, nullptr));
    self->self_ = self;
    self->End(status);
    return self.get();
  }

  // Called by the hub. If a write is in flight, its OnWriteDone looks for the news.
  void Advance() override {
    if (TakeToken()) Pump();
  }

  void End(const absl::Status& status) override {
    SetEnd(status);
    Advance();
  }

  // Has the token: it came with the write.
  void OnWriteDone(bool ok) override {
    if (!ok) SetEnd(absl::CancelledError("the client went away"));
    Pump();
  }

  // Called by gRPC on any thread, also while a write is in flight.
  void OnCancel() override { End(absl::CancelledError("the client went away")); }

  // The last call of gRPC. The reactor may be destroyed as `last` goes out of scope.
  void OnDone() override {
    if (hub_ != nullptr) hub_->Remove(this);
    const std::shared_ptr<StreamReactor> last = std::move(self_);
  }

 private:
  StreamReactor(std::unique_ptr<StreamSource<Message>> source, WatchHub* hub)
      : source_(std::move(source)), hub_(hub) {}

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

  // Requires: the caller has the token. Writes the next message, or finishes, or gives the token
  // back.
  void Pump() {
    while (true) {
      if (const auto ended = Ended()) return this->Finish(*ended);
      auto next = source_->Next();
      // An error of the source ends the stream.
      if (!next.ok()) return this->Finish(ToGrpc(next.status()));
      if (!next->has_value()) {
        if (source_->AtEnd()) return this->Finish(grpc::Status::OK);
        *next = source_->Idle();
      }
      if (next->has_value()) {
        message_ = **std::move(next);
        return this->StartWrite(&message_);
      }
      if (GiveTokenBack()) return;
    }
  }

  const std::unique_ptr<StreamSource<Message>> source_;
  WatchHub* const hub_;
  Message message_;
  std::shared_ptr<StreamReactor> self_;
  absl::Mutex mutex_;
  bool busy_ ABSL_GUARDED_BY(mutex_) = false;
  bool news_ ABSL_GUARDED_BY(mutex_) = false;  // Advance was called while busy
  std::optional<grpc::Status> end_status_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd

// A long piece of work for one client: fetching or verifying a model, reading rows. It runs on a
// thread of its own, reports its progress in bytes, and ends when the client goes.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/hub/transfer.h"
#include "server/host/stream_source.h"

namespace ftd {

// The means that the work has.
struct ClientTaskControls {
  std::function<void(const hub::TransferProgress&)> progress;
  std::function<bool()> cancelled;
};

// Sends the latest progress and, last, what the work returns. `wake` is called on the task's thread
// when there is something to send: at the end always, about progress a few times a second at most.
template <typename Message>
class ClientTask : public StreamSource<Message> {
 public:
  using Work = std::function<absl::StatusOr<Message>(const ClientTaskControls&)>;

  ClientTask(std::function<void()> wake, Work work)
      : wake_(std::move(wake)), thread_([this, work = std::move(work)] {
          SetResult(work({.progress = [this](const auto& progress) { SetProgress(progress); },
                          .cancelled = [this] { return cancelled_.load(); }}));
        }) {}

  // The work is asked to end and waited for.
  ~ClientTask() override {
    cancelled_ = true;
    thread_.join();
  }

  absl::StatusOr<std::optional<Message>> Next() override {
    const absl::MutexLock lock(&mutex_);
    if (ended_) return std::nullopt;
    if (result_.has_value()) {  // how far it was matters no more
      ended_ = true;
      if (!result_->ok()) return result_->status();
      return std::optional<Message>(**result_);
    }
    std::optional<Message> news;
    news.swap(news_);
    return news;
  }

  std::optional<absl::StatusOr<std::optional<Message>>> NextFromMemory() override { return Next(); }

  bool AtEnd() const override {
    const absl::MutexLock lock(&mutex_);
    return ended_;
  }

 private:
  void SetResult(absl::StatusOr<Message> result) {
    {
      const absl::MutexLock lock(&mutex_);
      result_ = std::move(result);
    }
    wake_();
  }

  // Only the latest progress is kept: a slow client skips some.
  void SetProgress(const hub::TransferProgress& progress) {
    Message message;
    message.mutable_progress()->set_done(progress.done_bytes);
    message.mutable_progress()->set_total(progress.total_bytes);
    message.mutable_progress()->set_rate(progress.bytes_per_second);
    message.mutable_progress()->set_unit("bytes");
    {
      const absl::MutexLock lock(&mutex_);
      news_ = std::move(message);
    }
    const auto now = std::chrono::steady_clock::now();
    if (now - woken_ < std::chrono::milliseconds(200)) return;
    woken_ = now;
    wake_();
  }

  const std::function<void()> wake_;
  std::chrono::steady_clock::time_point woken_;  // the task's thread alone

  mutable absl::Mutex mutex_;
  std::optional<Message> news_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::StatusOr<Message>> result_ ABSL_GUARDED_BY(mutex_);
  bool ended_ ABSL_GUARDED_BY(mutex_) = false;
  std::atomic<bool> cancelled_{false};
  std::thread thread_;  // last: it uses the others
};

}  // namespace ftd

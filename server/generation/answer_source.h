// The stream of an answer: what a thread of its own sends, in order.
#pragma once

#include <atomic>
#include <deque>
#include <functional>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/synchronization/mutex.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "server/generation/generator.h"
#include "server/host/stream_source.h"

namespace ftd {

class AnswerSource : public StreamSource<v1::GenerateResponse> {
 public:
  using Work = std::function<absl::Status(const GenerateObserver&)>;

  // Runs the work. `wake` is called on its thread when there is something to send, or it has ended.
  AnswerSource(std::function<void()> wake, Work work);
  // The work is asked to end and waited for.
  ~AnswerSource() override;

  absl::StatusOr<std::optional<v1::GenerateResponse>> Next() override;
  std::optional<absl::StatusOr<std::optional<v1::GenerateResponse>>> NextFromMemory() override {
    return Next();
  }
  bool AtEnd() const override;

 private:
  mutable absl::Mutex mutex_;
  // Not bounded: an answer has an end, and its worker waits for nobody.
  std::deque<v1::GenerateResponse> unsent_ ABSL_GUARDED_BY(mutex_);
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  std::atomic<bool> cancelled_{false};
  std::thread thread_;  // last: it uses the others
};

}  // namespace ftd

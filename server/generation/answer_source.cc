#include "server/generation/answer_source.h"

#include <utility>

namespace ftd {

AnswerSource::AnswerSource(std::function<void()> wake, Work work)
    : thread_([this, wake = std::move(wake), work = std::move(work)] {
        const auto send = [&](v1::GenerateResponse response) {
          {
            const absl::MutexLock lock(&mutex_);
            unsent_.push_back(std::move(response));
          }
          wake();
        };
        absl::Status end = work({.cancelled = [this] { return cancelled_.load(); }, .send = send});
        {
          const absl::MutexLock lock(&mutex_);
          end_ = std::move(end);
        }
        wake();
      }) {}

AnswerSource::~AnswerSource() {
  cancelled_ = true;
  thread_.join();
}

absl::StatusOr<std::optional<v1::GenerateResponse>> AnswerSource::Next() {
  const absl::MutexLock lock(&mutex_);
  if (unsent_.empty()) {
    if (end_.has_value() && !end_->ok()) return *end_;
    return std::nullopt;
  }
  std::optional<v1::GenerateResponse> next(std::move(unsent_.front()));
  unsent_.pop_front();
  return next;
}

bool AnswerSource::AtEnd() const {
  const absl::MutexLock lock(&mutex_);
  return unsent_.empty() && end_.has_value();
}

}  // namespace ftd

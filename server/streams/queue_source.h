// WatchQueue's stream: snapshots of the queue and the device.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "server/host/stream_source.h"
#include "server/requests/queue_view.h"

namespace ftd {

class QueueSource : public StreamSource<v1::WatchQueueResponse> {
 public:
  // `view` must outlive it. `only_owner`: the jobs of others are left out, and counted only. Waits
  // for the GPUs' figures, a second at most. INVALID_ARGUMENT FIELD_INVALID.
  static absl::StatusOr<std::unique_ptr<QueueSource>> Open(const QueueView& view,
                                                           const v1::WatchQueueRequest& request,
                                                           std::optional<std::string> only_owner);

  // Requires: called about once a second, and when a job has changed.
  absl::StatusOr<std::optional<v1::WatchQueueResponse>> Next() override;
  bool AtEnd() const override { return false; }

 private:
  using Clock = std::chrono::steady_clock;

  QueueSource(const QueueView& view, std::chrono::seconds interval,
              std::optional<std::string> only_owner)
      : view_(view), interval_(interval), only_owner_(std::move(only_owner)) {}

  const QueueView& view_;
  const std::chrono::seconds interval_;
  const std::optional<std::string> only_owner_;
  std::optional<Clock::time_point> sent_time_;
  int64_t sent_changes_ = 0;
};

}  // namespace ftd

#include "server/streams/queue_source.h"

#include "lib/base/error.h"

namespace ftd {
namespace {

using std::chrono::milliseconds;
using std::chrono::seconds;

constexpr auto kDefaultInterval = seconds(2);
constexpr auto kLongestInterval = seconds(3600);
// The turns come about once a second: one that comes a little early must not cost a whole second.
constexpr auto kEarly = milliseconds(500);
// Many changes at once make one snapshot. The next turn shows those that came too soon.
constexpr auto kShortestGap = milliseconds(100);

}  // namespace

absl::StatusOr<std::unique_ptr<QueueSource>> QueueSource::Open(
    const QueueView& view, const v1::WatchQueueRequest& request) {
  const seconds interval(request.interval_seconds());
  if (interval < seconds(0) || interval > kLongestInterval) {
    return FieldError({{"interval_seconds", "must be from 1 to 3600, or 0 for the default"}});
  }
  view.AskGpus();
  return std::unique_ptr<QueueSource>(
      new QueueSource(view, interval == seconds(0) ? kDefaultInterval : interval));
}

absl::StatusOr<std::optional<v1::WatchQueueResponse>> QueueSource::Next() {
  view_.KeepGpusFresh();
  const auto now = Clock::now();
  if (sent_time_.has_value()) {
    const auto age = now - *sent_time_;
    const bool due = age >= interval_ - kEarly;
    if (age < kShortestGap || (!due && !view_.IsOld(sent_changes_))) return std::nullopt;
  }
  FTD_ASSIGN_OR_RETURN(const auto snapshot, view_.Take());
  sent_time_ = now;
  sent_changes_ = snapshot->changes;
  return snapshot->message;
}

}  // namespace ftd

#include "server/streams/queue_source.h"

#include <algorithm>

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

// Leaves out the jobs of others. The counts stay: a place in the queue tells as much.
v1::WatchQueueResponse WithoutOthers(v1::WatchQueueResponse message, const std::string& owner) {
  const auto is_anothers = [&](const v1::Job& job) { return job.owner() != owner; };
  const auto leave_out = [](auto* jobs, const auto& is_out) {
    jobs->erase(std::remove_if(jobs->begin(), jobs->end(), is_out), jobs->end());
  };
  leave_out(message.mutable_queued(), is_anothers);
  leave_out(message.mutable_ended(), is_anothers);
  leave_out(message.mutable_running(),
            [&](const auto& running) { return is_anothers(running.job()); });
  return message;
}

}  // namespace

absl::StatusOr<std::unique_ptr<QueueSource>> QueueSource::Open(
    const QueueView& view, const v1::WatchQueueRequest& request,
    std::optional<std::string> only_owner) {
  const seconds interval(request.interval_seconds());
  if (interval < seconds(0) || interval > kLongestInterval) {
    return FieldError({{"interval_seconds", "must be from 1 to 3600, or 0 for the default"}});
  }
  view.AskGpus();
  return std::unique_ptr<QueueSource>(new QueueSource(
      view, interval == seconds(0) ? kDefaultInterval : interval, std::move(only_owner)));
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
  return only_owner_.has_value() ? WithoutOthers(snapshot->message, *only_owner_)
                                 : snapshot->message;
}

}  // namespace ftd

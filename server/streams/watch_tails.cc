#include "server/streams/watch_tails.h"

#include "lib/base/error.h"

namespace ftd {

// What is handed out is a holder of the tail: the hub has it too, until the last holder goes.
absl::StatusOr<std::shared_ptr<WatchTail>> WatchTails::Of(const std::string& job_id) {
  const absl::MutexLock lock(&registry_->mutex);
  std::weak_ptr<WatchTail>& known = registry_->tails[job_id];
  if (auto tail = known.lock()) return tail;
  const auto tail = std::make_shared<WatchTail>(job_id, lane_, hub_);
  tail->self_ = tail;
  FTD_RETURN_IF_ERROR(hub_.AddUncounted(tail, job_id));
  const auto give_back = [tail, job_id, &hub = hub_, registry = registry_](WatchTail*) {
    hub.Remove(tail.get());
    const absl::MutexLock lock(&registry->mutex);
    const auto found = registry->tails.find(job_id);
    if (found != registry->tails.end() && found->second.expired()) registry->tails.erase(found);
  };
  std::shared_ptr<WatchTail> holder(tail.get(), give_back);
  known = holder;
  return holder;
}

}  // namespace ftd

#include "server/streams/watch_hub.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

// Bookmarks are due every few seconds, and a lost notice costs this much at most.
constexpr absl::Duration kTick = absl::Seconds(1);

}  // namespace

WatchHub::WatchHub() : thread_([this] { Run(); }) {}

WatchHub::~WatchHub() {
  {
    absl::MutexLock lock(&mutex_);
    stopping_ = true;
  }
  waker_.Wake();
  thread_.join();
}

absl::Status WatchHub::Add(const std::string& job_id, std::shared_ptr<Watcher> watcher) {
  absl::MutexLock lock(&mutex_);
  if (!ended_ && counted_ >= kMaxWatchers) {
    return Error(Reason::kTooManyWatchers,
                 absl::StrCat(kMaxWatchers, " streams are open already; close some"));
  }
  return Put({job_id, std::move(watcher)});
}

absl::Status WatchHub::AddUncounted(std::shared_ptr<Watcher> watcher, const std::string& job_id) {
  absl::MutexLock lock(&mutex_);
  return Put({job_id, std::move(watcher), /*counts=*/false});
}

absl::Status WatchHub::Put(Entry entry) {
  if (ended_) return Error(Reason::kStopping, "ftd is stopping; call again");
  if (entry.counts) ++counted_;
  const Watcher* key = entry.watcher.get();
  watchers_[key] = std::move(entry);
  return absl::OkStatus();
}

std::string WatchHub::NewKey() {
  absl::MutexLock lock(&mutex_);
  return absl::StrCat("task ", ++keys_);
}

void WatchHub::Remove(const Watcher* watcher) {
  // Not under the lock: the last reference may go here, and a watcher's destructor is not the hub's
  // affair.
  Entry removed;  // destroyed without the lock
  absl::MutexLock lock(&mutex_);
  const auto found = watchers_.find(watcher);
  if (found == watchers_.end()) return;
  if (found->second.counts) --counted_;
  removed = std::move(found->second);
  watchers_.erase(found);
}

void WatchHub::Notify(const std::string& job_id) {
  absl::MutexLock lock(&mutex_);
  // One that comes later reads what is there.
  if (watchers_.empty()) return;
  // Only collects ids: what is done about them is done on the hub's thread.
  if (changed_.insert(job_id).second) waker_.Wake();
}

void WatchHub::EndAll(const absl::Status& status) {
  std::vector<std::shared_ptr<Watcher>> all;
  {
    absl::MutexLock lock(&mutex_);
    // From here on Add refuses, so no watcher can miss its end.
    ended_ = true;
    for (const auto& [key, entry] : watchers_) all.push_back(entry.watcher);
  }
  for (const auto& watcher : all) watcher->End(status);
}

size_t WatchHub::size() const {
  absl::MutexLock lock(&mutex_);
  return counted_;
}

std::vector<std::shared_ptr<Watcher>> WatchHub::Due(bool everybody) {
  std::vector<std::shared_ptr<Watcher>> due;
  for (const auto& [key, entry] : watchers_) {
    if (everybody || changed_.count(entry.job_id) > 0) due.push_back(entry.watcher);
  }
  changed_.clear();
  return due;
}

// The time of the next tick stands whatever happens before it: a job that has news all the time
// must not keep the tick from the others.
void WatchHub::Run() {
  Moment tick = SteadyNow() + kTick;
  while (true) {
    waker_.WaitUntil(tick);
    std::vector<std::shared_ptr<Watcher>> due;
    {
      absl::MutexLock lock(&mutex_);
      if (stopping_) return;
      const bool everybody = SteadyNow() >= tick;
      if (everybody) tick = SteadyNow() + kTick;
      due = Due(everybody);
    }
    // Without the lock: Advance may end a stream, whose OnDone calls Remove. `due` keeps each one
    // alive.
    for (const auto& watcher : due) watcher->Advance();
  }
}

}  // namespace ftd

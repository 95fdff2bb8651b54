#include "server/lookahead/prefetcher.h"

#include <utility>

#include "lib/hub/sources.h"
#include "server/host/log.h"

namespace ftd {

// The thread is the last member, so all others exist when it starts.
Prefetcher::Prefetcher(JobStore& store, std::function<void()> on_fetched)
    : store_(store), on_fetched_(std::move(on_fetched)), thread_([this] { Run(); }) {}

Prefetcher::~Prefetcher() {
  ending_ = true;
  waker_.End();
  thread_.join();
}

void Prefetcher::Run() {
  while (true) {
    waker_.WaitAtLeastUntil(looked_ + kLookPause);
    if (ending_) return;
    looked_ = SteadyNow();
    FetchForNext();
  }
}

// Fetches the files of the next queued job, as long as it stays the next one: the store is asked
// again with each report of progress.
void Prefetcher::FetchForNext() {
  const auto active = store_.Active();
  if (!active.ok() || active->empty()) return;  // the next job's own worker is about to
  const auto next = store_.NextQueued();
  if (!next.ok() || !next->has_value() || (*next)->sources_json.empty()) return;
  const auto sources = hub::SourcesFromJson((*next)->sources_json);
  if (!sources.ok() || hub::HasSources(*sources)) return;
  const std::string id = (*next)->id;
  LogInfo(About{.job = id}, "fetching its model while another job runs");
  // A job that was cancelled, or overtaken, is fetched for no longer.
  const auto still_next = [&] {
    const auto now = store_.NextQueued();
    return now.ok() && now->has_value() && (*now)->id == id;
  };
  std::atomic<bool> dropped{false};
  hub::TransferOptions options;
  options.progress = [&](const hub::TransferProgress&) { dropped = dropped || !still_next(); };
  options.cancelled = [&] { return ending_ || dropped; };
  const absl::Status fetched =
      hub::FetchSources(*sources, hub::FindToken(hub::SettingsFromEnvironment()), options);
  LogInfo(About{.job = id}, fetched.ok() ? "its model is there" : std::string(fetched.message()));
  if (fetched.ok()) on_fetched_();
}

}  // namespace ftd

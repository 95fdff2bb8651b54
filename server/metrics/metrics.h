// Prometheus: the registry of counters and histograms, and what is collected at each scrape; and
// the HTTP endpoint, which also says whether ftd is well.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "server/attempts/attempt_follower.h"
#include "server/host/state_dir.h"
#include "server/jobs/job.h"
#include "server/jobs/job_store.h"
#include "server/metrics/gpu_metrics.h"
#include "server/metrics/http_endpoint.h"
#include "server/metrics/state_metrics.h"
#include "server/metrics/training_metrics.h"

namespace ftd {

// Thread-safe.
class Metrics {
 public:
  // Opens `listen` (Options::metrics_listen), but answers nothing before Serve.
  // FAILED_PRECONDITION ADDRESS_IN_USE when an address that was asked for cannot be had; the
  // default address is given up with a warning.
  static absl::StatusOr<std::unique_ptr<Metrics>> Start(const std::string& listen,
                                                        const MetricsSources& sources);

  // From now on /metrics is answered, and /healthz by `health`: OK, or what is wrong. Requires:
  // what the sources refer to is ready.
  void Serve(std::function<absl::Status()> health);
  // No more answers. Call before what the sources refer to goes.
  void Close() { endpoint_ = nullptr; }

  // HOST:PORT as bound; empty when off.
  const std::string& address() const { return address_; }
  prometheus::Registry& registry() { return registry_; }

  // Called by the store's listener, on whatever thread made the change.
  void OnStateChange(const Job& job, const StateEvent& event);
  // The next two: on the runner's thread.
  void OnNews(const Job& job, const Attempt& attempt, const AttemptNews& news);
  // Counts the attempt and the exit of its worker, and ends the job's series.
  void OnAttemptEnded(const Job& job, const Attempt& attempt);
  // Retention has removed files.
  void OnPruned(RemovalKind kind, int64_t bytes);
  // With the store's write lock held, so it does nothing else.
  void OnCommit(absl::Duration taken) { commit_.Observe(absl::ToDoubleSeconds(taken)); }

 private:
  explicit Metrics(const MetricsSources& sources);
  // All of them, as Prometheus reads them.
  std::string Scrape() const ABSL_LOCKS_EXCLUDED(scraping_);

  // The registry has what is counted as it happens; the other three are read at the scrape.
  mutable absl::Mutex scraping_;  // one scrape at a time
  prometheus::Registry registry_;
  StateMetrics state_;
  TrainingMetrics training_;
  GpuMetrics gpu_;
  prometheus::Family<prometheus::Counter>& submitted_;
  prometheus::Family<prometheus::Counter>& finished_;
  prometheus::Family<prometheus::Counter>& attempts_;
  prometheus::Family<prometheus::Counter>& worker_exits_;
  prometheus::Counter& memory_guard_trips_;
  prometheus::Family<prometheus::Counter>& pruned_bytes_;
  prometheus::Histogram& queue_wait_;
  prometheus::Histogram& duration_;
  prometheus::Histogram& ingest_lag_;
  prometheus::Histogram& commit_;
  prometheus::Histogram& checkpoint_;
  std::unique_ptr<HttpEndpoint> endpoint_;
  std::string address_;  // stays when the endpoint goes, for whoever asks meanwhile
};

}  // namespace ftd

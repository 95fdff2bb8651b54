// Prometheus: the registry of counters and histograms, what is collected at each scrape, and the
// HTTP endpoint.
#pragma once

#include <prometheus/counter.h>
#include <prometheus/exposer.h>
#include <prometheus/histogram.h>
#include <prometheus/registry.h>

#include <functional>
#include <memory>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "server/attempts/attempt_follower.h"
#include "server/host/state_dir.h"
#include "server/jobs/job.h"
#include "server/jobs/job_store.h"
#include "server/metrics/gpu_metrics.h"
#include "server/metrics/state_metrics.h"
#include "server/metrics/training_metrics.h"

namespace ftd {

// Thread-safe.
class Metrics {
 public:
  // Opens `listen` (Options::metrics_listen), but collects nothing before Serve.
  // FAILED_PRECONDITION ADDRESS_IN_USE when an address that was asked for cannot be had; the
  // default address is given up with a warning.
  static absl::StatusOr<std::unique_ptr<Metrics>> Start(const std::string& listen,
                                                        const MetricsSources& sources);

  // From now on scrapes are answered. Requires: what the sources refer to is ready.
  void Serve();
  // No more scrapes. Call before what the sources refer to goes.
  void Close() { exposer_ = nullptr; }

  // HOST:PORT as bound; empty when off.
  const std::string& address() const { return address_; }
  prometheus::Registry& registry() { return *registry_; }

  // Called by the store's listener, on whatever thread made the change.
  void OnStateChange(const Job& job, const StateEvent& event);
  // The next two: on the runner's thread.
  void OnNews(const Job& job, const Attempt& attempt, const AttemptNews& news);
  // Counts the attempt and the exit of its worker, and ends the job's series.
  void OnAttemptEnded(const Job& job, const Attempt& attempt);
  // With the store's write lock held, so it does nothing else.
  void OnCommit(absl::Duration taken) { commit_.Observe(absl::ToDoubleSeconds(taken)); }

 private:
  explicit Metrics(const MetricsSources& sources);
  // Binds the address; scrapes wait until Serve.
  absl::Status Open(const std::string& listen);

  // The registry has what is counted as it happens; the other three are read at the scrape.
  std::shared_ptr<prometheus::Registry> registry_;
  std::shared_ptr<StateMetrics> state_;
  std::shared_ptr<TrainingMetrics> training_;
  std::shared_ptr<GpuMetrics> gpu_;
  prometheus::Family<prometheus::Counter>& submitted_;
  prometheus::Family<prometheus::Counter>& finished_;
  prometheus::Family<prometheus::Counter>& attempts_;
  prometheus::Family<prometheus::Counter>& worker_exits_;
  prometheus::Counter& memory_guard_trips_;
  prometheus::Histogram& queue_wait_;
  prometheus::Histogram& duration_;
  prometheus::Histogram& ingest_lag_;
  prometheus::Histogram& commit_;
  prometheus::Histogram& checkpoint_;
  std::unique_ptr<prometheus::Exposer> exposer_;
  std::string address_;
};

}  // namespace ftd

// Metrics that are read when they are scraped: the queue, the store, the disk, the machine.
#pragma once

#include <prometheus/collectable.h>

#include <functional>
#include <string>
#include <vector>

#include "server/host/gpus.h"
#include "server/host/sampler.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/streams/watch_hub.h"

namespace ftd {

// The sources of the numbers. All outlive the metrics.
struct MetricsSources {
  JobStore& store;
  const StateDir& state_dir;
  const WatchHub& hub;
  const GpuSampler& gpus;
  bool cuda = false;
  std::string tls_certificate;  // file; empty: none
  std::function<bool()> worker_up;
};

// Collect runs at each scrape, one at a time.
// Thread-safe.
class StateMetrics : public prometheus::Collectable {
 public:
  explicit StateMetrics(const MetricsSources& sources);
  std::vector<prometheus::MetricFamily> Collect() const override;

 private:
  const MetricsSources sources_;
  const double start_time_;
  // Walking through all results takes too long for a scrape.
  const Sampler<double> results_bytes_;
};

}  // namespace ftd

#include "server/metrics/metrics.h"

#include <algorithm>
#include <iterator>
#include <map>
#include <utility>
#include <vector>

#include <prometheus/text_serializer.h>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "server/host/listen_address.h"
#include "server/host/log.h"
#include "server/host/options.h"
#include "server/jobs/job_states.h"
#include "server/jobs/wire.h"

namespace ftd {
namespace {

using prometheus::BuildCounter;
using prometheus::BuildHistogram;

// Buckets from a second to two weeks.
const prometheus::Histogram::BucketBoundaries kJobSeconds = {
    1, 5, 15, 60, 300, 900, 1800, 3600, 10800, 21600, 43200, 86400, 259200, 1209600};
// Milliseconds are usual for both; more is a sign of a slow disk or a busy host.
const prometheus::Histogram::BucketBoundaries kLagSeconds = {0.001, 0.002, 0.005, 0.01, 0.025,
                                                             0.05,  0.1,   0.5,   1,    5};

// Tenths of a second for a small adapter, minutes for all of a large model's state.
const prometheus::Histogram::BucketBoundaries kCheckpointSeconds = {0.1, 0.5, 1,   2,   5,
                                                                    15,  60,  180, 600, 1800};

}  // namespace

// Names and units as Prometheus asks for: base units, counters that end in _total.
Metrics::Metrics(const MetricsSources& sources)
    : state_(sources),
      gpu_(sources.gpus),
      submitted_(BuildCounter()
                     .Name("ftd_jobs_submitted_total")
                     .Help("Jobs accepted.")
                     .Register(registry_)),
      finished_(BuildCounter()
                    .Name("ftd_jobs_finished_total")
                    .Help("Jobs in a final state.")
                    .Register(registry_)),
      attempts_(BuildCounter()
                    .Name("ftd_job_attempts_total")
                    .Help("Attempts that ended, by how.")
                    .Register(registry_)),
      worker_exits_(BuildCounter()
                        .Name("ftd_worker_exits_total")
                        .Help("Worker processes that ended, by exit status or signal.")
                        .Register(registry_)),
      memory_guard_trips_(BuildCounter()
                              .Name("ftd_memory_guard_trips_total")
                              .Help("Attempts that ended because the host's memory ran short.")
                              .Register(registry_)
                              .Add({})),
      pruned_bytes_(BuildCounter()
                        .Name("ftd_pruned_bytes_total")
                        .Help("Bytes that retention removed, by kind.")
                        .Register(registry_)),
      queue_wait_(BuildHistogram()
                      .Name("ftd_job_queue_wait_seconds")
                      .Help("From submit to the first attempt.")
                      .Register(registry_)
                      .Add({}, kJobSeconds)),
      duration_(BuildHistogram()
                    .Name("ftd_job_duration_seconds")
                    .Help("From the first attempt to the final state.")
                    .Register(registry_)
                    .Add({}, kJobSeconds)),
      ingest_lag_(BuildHistogram()
                      .Name("ftd_events_ingest_lag_seconds")
                      .Help("From the end of a step to the daemon's reading it.")
                      .Register(registry_)
                      .Add({}, kLagSeconds)),
      commit_(BuildHistogram()
                  .Name("ftd_sqlite_commit_seconds")
                  .Help("Time of a transaction's commit, flush to disk included.")
                  .Register(registry_)
                  .Add({}, kLagSeconds)),
      checkpoint_(BuildHistogram()
                      .Name("ftd_checkpoint_duration_seconds")
                      .Help("Time to write a checkpoint, flush to disk included.")
                      .Register(registry_)
                      .Add({}, kCheckpointSeconds)) {
  // There from the start, so that the first increase counts.
  for (const RemovalKind kind : kAllRemovalKinds)
    pruned_bytes_.Add({{"kind", RemovalKindName(kind)}});
}

absl::StatusOr<std::unique_ptr<Metrics>> Metrics::Start(const std::string& listen,
                                                        const MetricsSources& sources) {
  auto metrics = std::unique_ptr<Metrics>(new Metrics(sources));
  if (listen == "off") return metrics;
  auto endpoint = HttpEndpoint::Open(listen.empty() ? kDefaultMetricsListen : listen);
  // The default port may be taken by another user's ftd; that must not keep this one from starting.
  if (!endpoint.ok() && !listen.empty()) return endpoint.status();
  if (endpoint.ok()) {
    metrics->endpoint_ = *std::move(endpoint);
    metrics->address_ = metrics->endpoint_->address();
  } else {
    LogWarning(std::string(endpoint.status().message()),
               "; metrics are off. --metrics-listen chooses another address");
  }
  return metrics;
}

std::string Metrics::Scrape() const {
  const prometheus::Collectable* const sources[] = {&registry_, &state_, &training_, &gpu_};
  const absl::MutexLock lock(&scraping_);
  std::vector<prometheus::MetricFamily> families;
  for (const prometheus::Collectable* source : sources) {
    std::vector<prometheus::MetricFamily> some = source->Collect();
    std::move(some.begin(), some.end(), std::back_inserter(families));
  }
  return prometheus::TextSerializer().Serialize(families);
}

void Metrics::Serve(std::function<absl::Status()> health) {
  if (endpoint_ == nullptr) return;
  endpoint_->Handle("/metrics", [this] {
    return HttpEndpoint::Answer{.content_type = "text/plain; version=0.0.4; charset=utf-8",
                                .body = Scrape()};
  });
  endpoint_->Handle("/healthz", [health = std::move(health)] {
    const absl::Status well = health();
    if (well.ok()) return HttpEndpoint::Answer{.body = "ok\n"};
    return HttpEndpoint::Answer{.status = 503, .body = absl::StrCat(well.message(), "\n")};
  });
}

void Metrics::OnStateChange(const Job& job, const StateEvent& event) {
  // The first event of a job has no `from`.
  if (!event.from.has_value()) submitted_.Add({{"mode", ModeOf(job)}}).Increment();
  if (event.to == JobState::kPreparing && event.attempt == 1) {
    queue_wait_.Observe(absl::ToDoubleSeconds(event.time - job.create_time));
  }
  if (!IsFinal(event.to)) return;
  finished_
      .Add({{"state", JobStateName(event.to)},
            {"reason", job.failure_reason},
            {"mode", ModeOf(job)}})
      .Increment();
  if (job.start_time && job.end_time)
    duration_.Observe(absl::ToDoubleSeconds(*job.end_time - *job.start_time));
}

void Metrics::OnNews(const Job& job, const Attempt& attempt, const AttemptNews& news) {
  const absl::Time now = absl::Now();
  for (const v1::StepMetrics& step : news.steps) {
    // Negative if the clock was set back between worker and daemon.
    ingest_lag_.Observe(
        absl::ToDoubleSeconds(std::max(absl::ZeroDuration(), now - ToTime(step.time()))));
  }
  for (const v1::WorkerEvent& event : news.events) {
    if (event.end().failure_reason() == v1::HOST_MEMORY_GUARD) memory_guard_trips_.Increment();
    if (event.checkpoint().has_write_seconds())
      checkpoint_.Observe(event.checkpoint().write_seconds());
  }
  training_.OnNews(job, attempt, news);
}

void Metrics::OnPruned(RemovalKind kind, int64_t bytes) {
  pruned_bytes_.Add({{"kind", RemovalKindName(kind)}}).Increment(static_cast<double>(bytes));
}

void Metrics::OnAttemptEnded(const Job& job, const Attempt& attempt) {
  training_.OnAttemptEnded(job);
  attempts_.Add({{"reason", AttemptStateName(attempt.state)}}).Increment();
  // The label has one value for each way to end. Both empty: nobody knows.
  std::string how = "unknown";
  if (attempt.exit_code.has_value()) how = absl::StrCat("exit_", *attempt.exit_code);
  if (attempt.signal.has_value()) how = absl::StrCat("signal_", *attempt.signal);
  worker_exits_.Add({{"reason", how}}).Increment();
}

}  // namespace ftd

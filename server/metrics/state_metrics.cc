#include "server/metrics/state_metrics.h"

#include <sys/statvfs.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "absl/time/clock.h"
#include "lib/base/certificate.h"
#include "lib/base/host_memory.h"
#include "lib/base/tree_bytes.h"
#include "lib/runlog/timestamp.h"
#include "server/host/build_info.h"
#include "server/metrics/metric_family.h"

namespace ftd {
namespace {

using prometheus::MetricFamily;
using prometheus::MetricType;

MetricFamily Gauge(const char* name, const char* help) {
  return EmptyFamily(name, help, MetricType::Gauge);
}

MetricFamily SingleGauge(const char* name, const char* help, double value) {
  MetricFamily family = Gauge(name, help);
  AddSample(family, {}, value);
  return family;
}

double FileBytes(const std::filesystem::path& path) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  return error ? 0 : static_cast<double>(size);
}

// f_bavail and not f_bfree: ftd does not run as root.
void AddFreeBytes(MetricFamily& family, const char* role, const std::filesystem::path& path) {
  struct statvfs space;
  if (statvfs(path.c_str(), &space) != 0) return;
  AddSample(family, {{"path_role", role}},
            static_cast<double>(space.f_bavail) * static_cast<double>(space.f_frsize));
}

}  // namespace

StateMetrics::StateMetrics(const MetricsSources& sources)
    : sources_(sources),
      start_time_(ToUnixDouble(absl::Now())),
      results_bytes_([results = sources.state_dir.Results()] {
        return static_cast<double>(TreeBytes(results));
      }) {
  results_bytes_.Last();  // so that it is there when the first scrape comes
}

// Called at each scrape. Everything is read now, except the results' size,
// which would take too long.
std::vector<MetricFamily> StateMetrics::Collect() const {
  std::vector<MetricFamily> families;
  MetricFamily build = Gauge("ftd_build_info", "What this ftd was built from; always 1.");
  AddSample(build,
            {{"version", kVersion},
             {"revision", kRevision},
             {"cuda", sources_.cuda ? "true" : "false"},
             {"torch", ""}},
            1);
  families.push_back(std::move(build));
  families.push_back(SingleGauge("ftd_start_time_seconds", "When this ftd started.", start_time_));

  MetricFamily jobs = Gauge("ftd_jobs", "Jobs by state.");
  for (const auto& [state, count] : sources_.store.CountByState()) {
    AddSample(jobs, {{"state", JobStateName(state)}}, static_cast<double>(count));
  }
  families.push_back(std::move(jobs));
  MetricFamily oldest =
      Gauge("ftd_queue_oldest_timestamp_seconds", "Submit of the job that has waited longest.");
  if (const auto time = sources_.store.OldestQueued(); time.ok() && time->has_value()) {
    AddSample(oldest, {}, ToUnixDouble(**time));
  }
  families.push_back(std::move(oldest));

  families.push_back(SingleGauge("ftd_queue_drained", "1 while the queue is drained.",
                                 sources_.store.drained() ? 1 : 0));
  families.push_back(
      SingleGauge("ftd_worker_up", "1 while a worker runs.", sources_.worker_up() ? 1 : 0));
  families.push_back(SingleGauge("ftd_watchers", "Streams that follow a job.",
                                 static_cast<double>(sources_.hub.size())));
  MetricFamily collapsed =
      EmptyFamily("ftd_watch_steps_collapsed_total", "Steps left out of streams for slow readers.",
                  MetricType::Counter);
  AddSample(collapsed, {}, static_cast<double>(sources_.hub.collapsed_steps));
  families.push_back(std::move(collapsed));
  families.push_back(SingleGauge("ftd_host_memory_available_bytes", "MemAvailable of the host.",
                                 static_cast<double>(AvailableHostMemory())));
  const std::string database = sources_.state_dir.Database();
  families.push_back(
      SingleGauge("ftd_sqlite_db_bytes", "Size of the database.", FileBytes(database)));
  families.push_back(SingleGauge("ftd_sqlite_wal_bytes", "Size of the database's write-ahead log.",
                                 FileBytes(database + "-wal")));
  MetricFamily space = Gauge("ftd_filesystem_free_bytes", "Free bytes where ftd keeps its files.");
  AddFreeBytes(space, "state", sources_.state_dir.root());
  AddFreeBytes(space, "results", sources_.state_dir.Results());
  families.push_back(std::move(space));
  if (!sources_.tls_certificate.empty()) {
    if (const auto validity = CheckCertificate(sources_.tls_certificate, ""); validity.ok()) {
      families.push_back(SingleGauge("ftd_tls_certificate_expiry_timestamp_seconds",
                                     "When the certificate in tls_cert expires.",
                                     ToUnixDouble(validity->end)));
    }
  }
  // Absent until the first walk through the results is done.
  if (const auto bytes = results_bytes_.Last()) {
    families.push_back(SingleGauge("ftd_results_bytes", "Size of all published results.", *bytes));
  }
  return families;
}

}  // namespace ftd

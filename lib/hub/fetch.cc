#include "lib/hub/fetch.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <numeric>
#include <thread>
#include <vector>

#include "absl/strings/str_format.h"
#include "lib/base/error.h"
#include "lib/hub/transport/blob_fetch.h"

namespace ftd::hub {
namespace {

using std::chrono::steady_clock;

constexpr auto kRateSeconds = std::chrono::seconds(5);
constexpr auto kProgressInterval = std::chrono::milliseconds(200);
constexpr double kGigabyte = 1e9;
constexpr int64_t kDiskReserve = 256 << 20;

// Fetches the files of one revision on a few threads, which take them in turn. The first error ends
// them all.
class Fetch {
 public:
  Fetch(const FetchContext& context, const FetchOptions& options)
      : context_(context),
        options_(options),
        order_(context.revision.files.size()),
        bytes_(context.revision.files.size()) {
    // The largest first: if it came last, it would prolong the whole fetch.
    std::iota(order_.begin(), order_.end(), size_t{0});
    const auto& files = context.revision.files;
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return files[a].size > files[b].size; });
  }

  absl::Status Run() {
    const size_t connections =
        std::min(order_.size(), static_cast<size_t>(std::max(options_.connections, 1)));
    std::vector<std::thread> threads;
    running_ = connections;
    // One connection to a thread. The caller's thread only reports progress, so callbacks never
    // come from two threads.
    for (size_t i = 0; i < connections; ++i) threads.emplace_back([this] { Work(); });
    std::unique_lock<std::mutex> lock(mutex_);
    while (!ended_.wait_for(lock, kProgressInterval, [this] { return running_ == 0; })) {
      lock.unlock();
      Tell();
      lock.lock();
    }
    lock.unlock();
    for (std::thread& thread : threads) thread.join();
    if (status_.ok()) Tell();
    return status_;
  }

 private:
  void Work() {
    // A thread notices the failure of another while its own transfer runs.
    HttpClient http([this] { return failed_ || (options_.cancelled && options_.cancelled()); });
    for (;;) {
      const size_t turn = next_++;
      if (turn >= order_.size() || http.cancelled()) break;
      const size_t index = order_[turn];
      const absl::Status fetched =
          FetchBlob(http, context_, context_.revision.files[index],
                    [this, index](int64_t bytes) { bytes_[index] = bytes; });
      if (!fetched.ok()) {
        Fail(fetched);
        break;
      }
    }
    // Fail keeps the first status, so an error is not replaced by the cancellation that it caused.
    if (http.cancelled()) Fail(absl::CancelledError("cancelled"));
    const std::lock_guard<std::mutex> lock(mutex_);
    if (--running_ == 0) ended_.notify_one();
  }

  void Fail(const absl::Status& status) {
    const std::lock_guard<std::mutex> lock(mutex_);
    if (status_.ok()) status_ = status;
    failed_ = true;
  }

  void Tell() {
    if (!options_.progress) return;
    FetchProgress progress;
    for (size_t i = 0; i < bytes_.size(); ++i) {
      progress.done_bytes += bytes_[i];
      progress.total_bytes += context_.revision.files[i].size;
    }
    progress.bytes_per_second = Rate(progress.done_bytes);
    options_.progress(progress);
  }

  // Returns the rate over the last kRateSeconds at most.
  double Rate(int64_t done_bytes) {
    const auto now = steady_clock::now();
    history_.emplace_back(now, done_bytes);
    while (now - history_.front().first > kRateSeconds) history_.pop_front();
    const std::chrono::duration<double> span = now - history_.front().first;
    const int64_t fetched = done_bytes - history_.front().second;
    return span.count() > 0 && fetched > 0 ? static_cast<double>(fetched) / span.count() : 0;
  }

  const FetchContext& context_;
  const FetchOptions& options_;
  std::vector<size_t> order_;
  std::vector<std::atomic<int64_t>> bytes_;
  std::atomic<size_t> next_ = 0;
  std::atomic<bool> failed_ = false;
  std::deque<std::pair<steady_clock::time_point, int64_t>> history_;

  std::mutex mutex_;
  std::condition_variable ended_;
  size_t running_ = 0;
  absl::Status status_;
};

}  // namespace

bool HasFiles(const Cache& cache, const RepoRevision& revision) {
  return std::all_of(revision.files.begin(), revision.files.end(),
                     [&](const RepoFile& file) { return cache.Has(revision, file); });
}

int64_t MissingBytes(const Cache& cache, const RepoRevision& revision) {
  int64_t missing = 0;
  for (const RepoFile& file : revision.files) {
    if (!cache.Has(revision, file)) missing += file.size - cache.FetchedBytes(revision.repo, file);
  }
  return missing;
}

// kDiskReserve stays free for the rest of the machine.
absl::Status CheckDisk(const Cache& cache, const RepoRevision& revision) {
  const int64_t missing = MissingBytes(cache, revision);
  std::error_code error;
  std::filesystem::create_directories(cache.root(), error);
  const auto space = std::filesystem::space(cache.root(), error);
  if (error) return ErrnoError(error.value(), cache.root().string());
  if (missing == 0 || static_cast<int64_t>(space.available) >= missing + kDiskReserve)
    return absl::OkStatus();
  return Error(
      Reason::kDiskFull,
      absl::StrFormat(
          "%s needs %.2f GB more in %s, where %.2f GB are free and %.2f GB stay free; make "
          "room (`ftctl models rm` removes models) or set HF_HUB_CACHE to a larger disk",
          Described(revision.repo), static_cast<double>(missing) / kGigabyte, cache.root().string(),
          static_cast<double>(space.available) / kGigabyte,
          static_cast<double>(kDiskReserve) / kGigabyte));
}

absl::Status FetchFiles(const Settings& settings, const std::string& token, const Cache& cache,
                        const RepoRevision& revision, const FetchOptions& options) {
  // The usual case for the second job on a model: no request, not even a lock.
  if (HasFiles(cache, revision)) return absl::OkStatus();
  FTD_RETURN_IF_ERROR(cache.Tag());
  FTD_RETURN_IF_ERROR(CheckDisk(cache, revision));
  const FetchContext context{settings, token, cache, revision, options.patience};
  return Fetch(context, options).Run();
}

}  // namespace ftd::hub

#include "lib/hub/transfer.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <numeric>
#include <thread>
#include <utility>

namespace ftd::hub {
namespace {

using std::chrono::steady_clock;

constexpr auto kRateSeconds = std::chrono::seconds(5);
constexpr auto kProgressInterval = std::chrono::milliseconds(200);

// The threads take the files in turn.
class Transfers {
 public:
  Transfers(const std::vector<int64_t>& sizes, const TransferOptions& options,
            const Transfer& transfer)
      : sizes_(sizes),
        options_(options),
        transfer_(transfer),
        order_(sizes.size()),
        bytes_(sizes.size()) {
    // The largest first: if it came last, it would prolong the whole.
    std::iota(order_.begin(), order_.end(), size_t{0});
    std::stable_sort(order_.begin(), order_.end(),
                     [&](size_t a, size_t b) { return sizes[a] > sizes[b]; });
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
      const absl::Status moved =
          transfer_(http, index, [this, index](int64_t bytes) { bytes_[index] = bytes; });
      if (!moved.ok()) {
        Fail(moved);
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
    TransferProgress progress;
    for (size_t i = 0; i < bytes_.size(); ++i) {
      progress.done_bytes += bytes_[i];
      progress.total_bytes += sizes_[i];
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
    const int64_t moved = done_bytes - history_.front().second;
    return span.count() > 0 && moved > 0 ? static_cast<double>(moved) / span.count() : 0;
  }

  const std::vector<int64_t>& sizes_;
  const TransferOptions& options_;
  const Transfer& transfer_;
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

absl::Status RunTransfers(const std::vector<int64_t>& sizes, const TransferOptions& options,
                          const Transfer& transfer) {
  return Transfers(sizes, options, transfer).Run();
}

}  // namespace ftd::hub

#include "lib/data/tokenize.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

namespace ftd {
namespace {

constexpr size_t kBatchRows = 256, kBatchBytes = 256 << 10;  // what a thread takes at a time

struct Batch {
  std::vector<Example> examples;
  TokenBlock block;
  RowTally tally;
  bool done = false;  // guarded by the threads' mutex
};

// Encodes a batch's examples into its block, and counts what became of them.
void Encode(const RowEncoder& encoder, Batch* batch) {
  for (const Example& example : batch->examples) {
    const EncodedRow row = encoder.Encode(example);
    batch->tally.Add(example, row, /*kept=*/batch->block.Add(row));
  }
}

// Threads that encode batches, in any order. TokenizeRows puts them back in order.
class EncodingThreads {
 public:
  EncodingThreads(const RowEncoder& encoder, int threads) : encoder_(encoder) {
    for (int i = 0; i < threads; ++i) threads_.emplace_back([this] { Run(); });
  }
  // Leaves batches that no thread has begun.
  ~EncodingThreads() {
    const std::lock_guard<std::mutex> lock(mutex_);
    stopped_ = true;
    work_.notify_all();
  }
  EncodingThreads(const EncodingThreads&) = delete;
  EncodingThreads& operator=(const EncodingThreads&) = delete;

  // `batch` must live until it is done or this object is gone.
  void Submit(Batch* batch) {
    const std::lock_guard<std::mutex> lock(mutex_);
    queue_.push_back(batch);
    work_.notify_one();
  }
  void WaitFor(const Batch& batch) {
    std::unique_lock<std::mutex> lock(mutex_);
    finished_.wait(lock, [&] { return batch.done; });
  }

 private:
  void Run() {
    std::unique_lock<std::mutex> lock(mutex_);
    while (true) {
      work_.wait(lock, [this] { return stopped_ || !queue_.empty(); });
      if (stopped_) return;
      Batch* batch = queue_.front();
      queue_.pop_front();
      lock.unlock();
      Encode(encoder_, batch);
      lock.lock();
      batch->done = true;
      // Only the calling thread waits.
      finished_.notify_one();
    }
  }

  const RowEncoder& encoder_;
  std::mutex mutex_;
  std::condition_variable work_, finished_;
  std::deque<Batch*> queue_;
  bool stopped_ = false;
  std::vector<std::jthread> threads_;  // last: joined before the rest goes away
};

// Fills a batch; it stays empty at the end. Limited by bytes as well as rows, since a row may be
// megabytes long.
absl::Status ReadBatch(DatasetReader& reader, Batch* batch) {
  size_t bytes = 0;
  while (batch->examples.size() < kBatchRows && bytes < kBatchBytes) {
    Example example;
    FTD_ASSIGN_OR_RETURN(const bool found, reader.Next(&example));
    if (!found) break;
    bytes += example.text.size();
    batch->examples.push_back(std::move(example));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<RowTally> TokenizeRows(DatasetReader& reader, const RowEncoder& encoder, int threads,
                                      TokenStoreWriter& store, const std::function<bool()>& go_on) {
  const int useful = std::max(threads, 1);
  // Two batches for each thread and one being appended: the threads always have work, and memory
  // does not grow with the file.
  const size_t most = 2 * static_cast<size_t>(useful) + 1;
  // Declared before the encoders, whose threads are joined first.
  std::deque<std::unique_ptr<Batch>> under_way;
  EncodingThreads encoders(encoder, useful);
  RowTally tally;
  for (bool more = true; more || !under_way.empty();) {
    if (!go_on()) return absl::CancelledError("tokenising was cancelled");
    if (more && under_way.size() < most) {
      auto batch = std::make_unique<Batch>();
      batch->tally = RowTally(tally.samples_missing());
      FTD_RETURN_IF_ERROR(ReadBatch(reader, batch.get()));
      more = !batch->examples.empty();
      if (!more) continue;
      under_way.push_back(std::move(batch));
      encoders.Submit(under_way.back().get());
      continue;
    }
    // The oldest batch: rows are appended in the order in which they were read.
    encoders.WaitFor(*under_way.front());
    FTD_RETURN_IF_ERROR(store.Append(under_way.front()->block));
    tally.Merge(under_way.front()->tally);
    under_way.pop_front();
  }
  return tally;
}

}  // namespace ftd

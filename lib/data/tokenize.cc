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
  std::vector<RawRow> rows;
  std::vector<absl::Status> rendered;  // how that ended, of each row
  TokenBlock block;
  RowTally tally;
  bool done = false;  // guarded by the threads' mutex
};

// Renders a batch's rows and encodes the good ones into its block; counts what became of them.
void Encode(const DatasetReader& reader, const RowEncoder& encoder, Batch* batch) {
  for (const RawRow& raw : batch->rows) {
    const absl::StatusOr<Example> example = reader.Render(raw);
    batch->rendered.push_back(example.status());
    if (!example.ok()) continue;
    const EncodedRow row = encoder.Encode(*example);
    batch->tally.Add(*example, row, /*kept=*/batch->block.Add(row));
  }
}

// Threads that encode batches, in any order. TokenizeRows puts them back in order.
class EncodingThreads {
 public:
  EncodingThreads(const DatasetReader& reader, const RowEncoder& encoder, int threads)
      : reader_(reader), encoder_(encoder) {
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
      Encode(reader_, encoder_, batch);
      lock.lock();
      batch->done = true;
      // Only the calling thread waits.
      finished_.notify_one();
    }
  }

  const DatasetReader& reader_;
  const RowEncoder& encoder_;
  std::mutex mutex_;
  std::condition_variable work_, finished_;
  std::deque<Batch*> queue_;
  bool stopped_ = false;
  std::vector<std::jthread> threads_;  // last: joined before the rest goes away
};

// Fills a batch with at most `most` rows. Limited by bytes as well, since a row may be megabytes
// long. Returns false when there are no more; after an error the batch has the rows before it.
absl::StatusOr<bool> ReadBatch(DatasetReader& reader, int64_t most, Batch* batch) {
  const size_t rows = static_cast<size_t>(std::min<int64_t>(most, kBatchRows));
  size_t bytes = 0;
  while (batch->rows.size() < rows && bytes < kBatchBytes) {
    RawRow raw;
    FTD_ASSIGN_OR_RETURN(const bool found, reader.ReadRow(&raw));
    if (!found) return false;
    for (const Cell& cell : raw.row.cells) bytes += cell.text.size();
    batch->rows.push_back(std::move(raw));
  }
  return true;
}

// Settles a batch that is done: its bad rows are counted, and its good ones appended.
absl::Status Take(const Batch& batch, DatasetReader& reader, TokenStoreWriter& store,
                  RowTally* tally) {
  for (size_t i = 0; i < batch.rows.size(); ++i)
    FTD_RETURN_IF_ERROR(reader.Settle(batch.rows[i], batch.rendered[i]).status());
  tally->Merge(batch.tally);
  return store.Append(batch.block);
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
  EncodingThreads encoders(reader, encoder, useful);
  RowTally tally;
  absl::StatusOr<bool> more = true;  // rows to read; an error waits for the rows before it
  int64_t rows_under_way = 0;        // never more than are wanted: all of them may be good
  while (true) {
    if (!go_on()) return absl::CancelledError("tokenising was cancelled");
    const int64_t room = reader.wanted() - rows_under_way;
    if (more.value_or(false) && room > 0 && under_way.size() < most) {
      auto batch = std::make_unique<Batch>();
      batch->tally = RowTally(tally.samples_missing());
      more = ReadBatch(reader, room, batch.get());
      rows_under_way += static_cast<int64_t>(batch->rows.size());
      under_way.push_back(std::move(batch));
      encoders.Submit(under_way.back().get());
      continue;
    }
    if (under_way.empty()) break;
    // The oldest batch: rows are appended in the order in which they were read.
    encoders.WaitFor(*under_way.front());
    rows_under_way -= static_cast<int64_t>(under_way.front()->rows.size());
    FTD_RETURN_IF_ERROR(Take(*under_way.front(), reader, store, &tally));
    under_way.pop_front();
  }
  FTD_RETURN_IF_ERROR(more.status());
  FTD_RETURN_IF_ERROR(reader.End());
  return tally;
}

}  // namespace ftd

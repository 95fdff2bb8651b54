// Micro-batches: rows put end to end, read ahead in the order of a plan and sent to the device.
#pragma once

#include <cstdint>
#include <future>
#include <utility>
#include <vector>

#include "lib/data/row_source.h"
#include "lib/plan/batch_plan.h"
#include "worker/engine/model/model.h"

namespace ftd::engine {

// Returns the labels that rows contribute: the tokens, but for the first of each row, that are not
// ignored.
int64_t CountLabels(const RowSource& rows, const std::vector<int64_t>& indices);

// Returns the rows of those numbers, in that order.
std::vector<TokenizedRow> ReadRows(const RowSource& rows, const std::vector<int64_t>& indices);

// Everything of a FlatBatch in one buffer on the host, which one copy brings to the device: int64
// input ids [T], positions [T], places of the ids [T], supervised positions [S], targets [S], int32
// borders of the documents, int64 distinct ids [U].
struct PackedBatch {
  at::Tensor numbers;                  // int64; pinned when it is for a GPU
  std::vector<int64_t> offsets = {0};  // of the documents
  int64_t supervised = 0;              // S
  int64_t distinct = 0;                // U

  int64_t tokens() const { return offsets.back(); }
};

// Puts the rows end to end. `device` is where they are to go.
PackedBatch Pack(const std::vector<TokenizedRow>& rows, c10::Device device);

// Queues the copy; on the CPU there is none.
FlatBatch ToDevice(const PackedBatch& packed, c10::Device device);

// One micro-batch as it was read.
struct MicroBatch {
  PackedBatch packed;
  int64_t rows = 0;
  int64_t padded_tokens = 0;  // had it been padded to its longest row
  int64_t step_labels = 0;    // of the whole step that it belongs to
  double epoch_after = 0;     // passes over the data at the end of that step
  size_t of = 0;              // micro-batches in it
  bool continues = false;     // it is a part of the plan's micro-batch that the one before is of
};

// Returns `rows` in their order in at most so many parts of as good as equally many; no part is
// empty.
std::vector<std::vector<int64_t>> SplitRows(const std::vector<int64_t>& rows, int64_t parts);

// Reads micro-batches in the order of a plan, on a thread of its own one ahead of the one that is
// computed with.
class BatchLoader {
 public:
  // `rows` outlives the loader.
  BatchLoader(const RowSource& rows, BatchPlan plan, c10::Device device)
      : rows_(rows), plan_(std::move(plan)), device_(device) {}

  int64_t steps_planned() const { return plan_.steps_planned(); }

  // From the next Take on, a micro-batch of the plan is as many as SplitRows makes of it.
  void SplitInto(int64_t parts);

  // Returns micro-batch `index` of 1-based `step`, in any order; the one after it is read
  // meanwhile. Throws EngineError when rows cannot be read.
  MicroBatch Take(int64_t step, size_t index);

 private:
  using Place = std::pair<int64_t, size_t>;  // step, micro-batch
  struct Part {
    std::vector<int64_t> rows;
    bool continues;
  };

  MicroBatch Load(Place place);
  void EnterStep(int64_t step);
  // Waits for rows that are read ahead, and forgets them.
  void Forget();

  const RowSource& rows_;
  BatchPlan plan_;
  c10::Device device_;
  int64_t parts_ = 1;
  // These belong to the step that Load read from last.
  int64_t step_ = 0, step_labels_ = 0;
  double epoch_after_ = 0;
  std::vector<Part> step_parts_;
  // Last, so that it ends before what it works with. While it runs, only its thread calls Load.
  Place next_place_;
  std::future<MicroBatch> next_;
};

}  // namespace ftd::engine

#include "worker/engine/training/batches.h"

#include <ATen/ops/empty.h>

#include <algorithm>
#include <utility>

#include "lib/base/ceil_div.h"
#include "lib/plan/step_fit.h"
#include "worker/engine/training/readable.h"

namespace ftd::engine {
namespace {

// The places at which the parts of PackedBatch::numbers begin.
struct Layout {
  int64_t positions, places, supervised, targets, borders, distinct, end;

  explicit Layout(const PackedBatch& packed) {
    const auto T = packed.tokens(), borders_count = static_cast<int64_t>(packed.offsets.size());
    positions = T;
    places = positions + T;
    supervised = places + T;
    targets = supervised + packed.supervised;
    borders = targets + packed.supervised;
    distinct = borders + CeilDiv(borders_count, 2);  // two int32 share the room of an int64
    end = distinct + packed.distinct;
  }
};

// Writes the distinct ones of `ids` [count], ascending, and where among them each is. Returns how
// many there are.
int64_t WriteDistinct(const int64_t* ids, int64_t count, int64_t* distinct, int64_t* places) {
  std::copy_n(ids, count, distinct);
  std::sort(distinct, distinct + count);
  const int64_t* end = std::unique(distinct, distinct + count);
  for (int64_t i = 0; i < count; ++i)
    places[i] = std::lower_bound<const int64_t*>(distinct, end, ids[i]) - distinct;
  return end - distinct;
}

}  // namespace

int64_t CountLabels(const RowSource& rows, const std::vector<int64_t>& indices) {
  int64_t count = 0;
  for (int64_t index : indices) count += Readable(rows.Length(index)).labels;
  return count;
}

std::vector<TokenizedRow> ReadRows(const RowSource& rows, const std::vector<int64_t>& indices) {
  std::vector<TokenizedRow> read;
  read.reserve(indices.size());
  for (int64_t index : indices) read.push_back(Readable(rows.Read(index)));
  return read;
}

PackedBatch Pack(const std::vector<TokenizedRow>& rows, c10::Device device) {
  PackedBatch packed;
  for (const TokenizedRow& row : rows) {
    packed.offsets.push_back(packed.tokens() + static_cast<int64_t>(row.input_ids.size()));
    packed.supervised += CountLabels(row);
  }
  const Layout layout(packed);
  // Room for T distinct ids, because they are counted last; ToDevice copies only those that exist.
  // The device's copy engine reads pinned memory without the CPU's help, so the copy can be
  // asynchronous.
  packed.numbers = at::empty({layout.distinct + packed.tokens()},
                             at::TensorOptions(at::kLong).pinned_memory(device.is_cuda()));
  auto* ids = packed.numbers.mutable_data_ptr<int64_t>();
  int64_t *supervised = ids + layout.supervised, *targets = ids + layout.targets, at = 0;
  for (const TokenizedRow& row : rows) {
    for (size_t i = 0; i < row.input_ids.size(); ++i, ++at) {
      // Position i predicts label i + 1, within its own row: the shift of transformers'
      // ForCausalLMLoss. The last token of a row predicts nothing.
      if (i + 1 < row.labels.size() && row.labels[i + 1] != kIgnoreLabel) {
        *supervised++ = at;
        *targets++ = row.labels[i + 1];
      }
      ids[at] = row.input_ids[i];
      ids[layout.positions + at] = static_cast<int64_t>(i);
    }
  }
  std::copy(packed.offsets.begin(), packed.offsets.end(),
            reinterpret_cast<int32_t*>(ids + layout.borders));
  packed.distinct = WriteDistinct(ids, packed.tokens(), ids + layout.distinct, ids + layout.places);
  return packed;
}

FlatBatch ToDevice(const PackedBatch& packed, c10::Device device) {
  const Layout layout(packed);
  // One copy for everything. It may still run when `packed` goes: the allocator of pinned memory
  // keeps the buffer until the copy is done. All tensors below are views of the device's copy.
  const at::Tensor numbers =
      packed.numbers.narrow(0, 0, layout.end).to(device, /*non_blocking=*/true);
  const auto part = [&](int64_t begin, int64_t count) { return numbers.narrow(0, begin, count); };
  const int64_t T = packed.tokens();
  FlatBatch batch;
  batch.input_ids = part(0, T);
  batch.positions = part(layout.positions, T);
  batch.id_places = part(layout.places, T);
  batch.supervised = part(layout.supervised, packed.supervised);
  batch.targets = part(layout.targets, packed.supervised);
  batch.distinct_ids = part(layout.distinct, packed.distinct);
  at::Tensor cu_seqlens;
  if (!device.is_cpu()) {
    cu_seqlens = part(layout.borders, layout.distinct - layout.borders)
                     .view(at::kInt)
                     .narrow(0, 0, static_cast<int64_t>(packed.offsets.size()));
  }
  batch.documents = MakeDocuments(packed.offsets, cu_seqlens);
  return batch;
}

std::vector<std::vector<int64_t>> SplitRows(const std::vector<int64_t>& rows, int64_t parts) {
  const auto count = static_cast<int64_t>(rows.size());
  parts = std::min(parts, count);
  std::vector<std::vector<int64_t>> split;
  for (int64_t part = 0; part < parts; ++part) {
    const auto [begin, end] = PartOf(count, part, parts);
    split.emplace_back(rows.begin() + begin, rows.begin() + end);
  }
  return split;
}

// A micro-batch's loss is divided by the labels of the whole step, so these are counted before its
// first micro-batch is computed; lengths are known without reading tokens.
void BatchLoader::EnterStep(int64_t step) {
  step_parts_.clear();
  step_labels_ = 0;
  for (const std::vector<int64_t>& rows : plan_.MicroBatches(step)) {
    step_labels_ += CountLabels(rows_, rows);
    bool continues = false;
    for (std::vector<int64_t>& part : SplitRows(rows, parts_))
      step_parts_.push_back({std::move(part), std::exchange(continues, true)});
  }
  epoch_after_ = plan_.EpochAfter(step);
  step_ = step;
}

MicroBatch BatchLoader::Load(Place place) {
  const auto [step, index] = place;
  if (step != step_) EnterStep(step);
  const auto& [indices, continues] = step_parts_[index];
  const std::vector<TokenizedRow> rows = ReadRows(rows_, indices);
  size_t longest = 0;
  for (const TokenizedRow& row : rows) longest = std::max(longest, row.input_ids.size());
  const auto count = static_cast<int64_t>(rows.size());
  return {.packed = Pack(rows, device_),
          .rows = count,
          .padded_tokens = static_cast<int64_t>(longest) * count,
          .step_labels = step_labels_,
          .epoch_after = epoch_after_,
          .of = step_parts_.size(),
          .continues = continues};
}

void BatchLoader::Forget() {
  if (next_.valid()) next_.wait();
  next_ = {};
}

void BatchLoader::SplitInto(int64_t parts) {
  Forget();
  parts_ = parts;
  step_ = 0;  // to be entered once more
}

MicroBatch BatchLoader::Take(int64_t step, size_t index) {
  const Place place{step, index};
  // The thread uses plan_ and step_parts_, so it must end before this one calls Load. An error of
  // the thread is thrown by get().
  if (next_place_ != place) Forget();
  MicroBatch batch = next_.valid() ? next_.get() : Load(place);
  next_place_ = index + 1 < batch.of ? Place{step, index + 1} : Place{step + 1, 0};
  // Reads the next micro-batch while this one is computed, up to the last one of the plan.
  if (next_place_.first <= plan_.steps_planned())
    next_ = std::async(std::launch::async, [this, next = next_place_] { return Load(next); });
  return batch;
}

}  // namespace ftd::engine

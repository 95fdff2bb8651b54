// How a run's micro-batches are computed so that they fit into a device's memory, found out before
// the first of them is: JobSpec.auto_batch_size. Without torch.
#pragma once

#include <cstdint>

#include "absl/status/statusor.h"
#include "lib/data/row_source.h"
#include "lib/model/model_config.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// Some of a micro-batch's rows, which are in order: [begin, end).
struct RowRange {
  int64_t begin = 0, end = 0;
  bool operator==(const RowRange&) const = default;
};

// Returns the 0-based part `part` of `rows` rows in `parts` of as good as equally many. Requires:
// 0 ≤ part < parts ≤ rows.
RowRange PartOf(int64_t rows, int64_t part, int64_t parts);

struct StepFit {
  int64_t parts = 1;       // of a micro-batch, computed one after another
  int64_t recomputed = 0;  // layers in the backward pass of a part, at most
  bool operator==(const StepFit&) const = default;
};

// Returns the fewest parts, of 1, 2, 4, …, in which each micro-batch of the spec's steps takes at
// most `room` bytes beyond what is there from the first step to the last. Layers are recomputed
// only where one row at a time takes more, and where the spec leaves that open; where nothing
// suffices, the result is the least that there is. Of more rows than kRowsCounted (work_plan.h),
// epochs included, the first decide. Requires: spec.batch_tokens == 0, and no packing; `config` has
// been judged. Errors: those of RowSource::Length.
absl::StatusOr<StepFit> FitStep(const ModelConfig& config, const TrainSpec& spec,
                                const RowSource& rows, bool on_gpu, int64_t room);

}  // namespace ftd

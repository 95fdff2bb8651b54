// What a job will do and need, for who asks before it begins.
#pragma once

#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"
#include "lib/data/row_source.h"
#include "lib/model/model_config.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// `config` has been judged; `rows` are those to train on, of which there is one at least, `eval`
// those to evaluate on, or null. For the
// GPU where this machine has one, of whose memory jobs may have `device_memory` bytes (0: not
// known); nothing is asked of it. Errors: their lengths cannot be read.
absl::StatusOr<v1::JobPlan> MakeJobPlan(const ModelConfig& config, const TrainSpec& spec,
                                        const RowSource& rows, const RowSource* eval,
                                        int64_t device_memory);

}  // namespace ftd

// `ft-worker train`, also called ft-train: fine-tunes in the foreground.
#pragma once

#include "absl/status/status.h"
#include "worker/commands/train_flags.h"

namespace ftd {

// Trains. *exit_status: 0 when the result is there, 1 when training failed, 130 when a signal
// stopped it. A status says what kept it from beginning.
absl::Status Train(const TrainOptions& options, int* exit_status);

}  // namespace ftd

// From what went wrong to the end record that says so.
#pragma once

#include <new>

#include "absl/status/status.h"
#include "ftd/v1/worker.pb.h"
#include "lib/spec/train_spec.h"
#include "worker/engine/train.h"

namespace ftd {

// The traits of a run on which the advice depends.
struct FailedRun {
  Checkpointing gradient_checkpointing = Checkpointing::kAuto;
  bool on_gpu = false;
  bool batch_tokens = false;  // whether tokens, not rows, fill a micro-batch
  Mode mode = Mode::kLora;
};

v1::WorkerEvent::End FailureOf(const absl::Status& status, const FailedRun& run);
// Out of memory: the GPU's, or the host's on a CPU.
v1::WorkerEvent::End FailureOf(const engine::EngineError& error, const FailedRun& run);
// The host's memory ran out outside of the engine.
v1::WorkerEvent::End FailureOf(const std::bad_alloc& error, const FailedRun& run);

// The engine's error where there is no run: DISK_FULL, MODEL_CORRUPT, HOST_MEMORY_GUARD, INTERNAL.
absl::Status StatusOf(const engine::EngineError& error);

}  // namespace ftd

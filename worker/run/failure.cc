#include "worker/run/failure.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

// Returns how the run could take less memory.
std::string Smaller(const FailedRun& run) {
  const bool recomputes_all = run.gradient_checkpointing == Checkpointing::kOn;
  return absl::StrCat("lower --batch-", run.batch_tokens ? "tokens" : "size", " or --seq-length",
                      recomputes_all ? "" : ", or give --gradient-checkpointing on");
}

// Returns what fits where one row at a time with all layers recomputed does not.
std::string Lighter(Mode mode) {
  switch (mode) {
    case Mode::kFull:
      return "lower --seq-length, or use --mode lora";
    case Mode::kLora:
      return "lower --seq-length, or use --mode qlora";
    case Mode::kQlora:
      break;
  }
  return "lower --seq-length, or choose a smaller model";
}

// Returns what a user can do about it.
std::string HintFor(v1::FailureReason reason, const FailedRun& run) {
  switch (reason) {
    case v1::DATASET_INVALID:
      return "correct what the message names, then try again";
    case v1::MODEL_NOT_FOUND:
    case v1::MODEL_CORRUPT:
      return "check the model directory, download it again if in doubt, then try again";
    case v1::MODEL_UNSUPPORTED:
      return "choose a model of a supported family (ftctl models) with a BPE tokenizer.json";
    case v1::DOES_NOT_FIT:
      return "submit it again with a change that the message names; `ftctl estimate` tells ahead";
    case v1::GPU_OUT_OF_MEMORY:
      return Lighter(run.mode);
    case v1::HOST_MEMORY_GUARD:
      return absl::StrCat("free memory of the host, or ", Smaller(run),
                          "; what the last checkpoint holds is not lost");
    case v1::DISK_FULL:
      return "free space where the message says, then try again";
    case v1::LOSS_DIVERGED:
      return "lower --learning-rate, or use --dtype float32";
    case v1::MODEL_GATED:
      return "ask for access on the model's page; try again when it is granted";
    case v1::TOKEN_INVALID:
      return "store a valid token with `ftctl login`, then try again";
    case v1::HUB_UNREACHABLE:
      return "check the network and try again: what was fetched so far is kept";
    case v1::CHECKPOINT_CORRUPT:
      return "the checkpoint's bytes changed on disk; check the disk, then start again";
    default:
      return "see what the worker said: `ftctl logs`, or above with ft-train";
  }
}

// Every failure has a hint: the user sees it under the message.
v1::WorkerEvent::End Failure(v1::FailureReason reason, const std::string& message,
                             const FailedRun& run) {
  v1::WorkerEvent::End end;
  end.set_outcome(v1::WorkerEvent::End::FAILED);
  end.set_failure_reason(reason);
  end.set_message(message);
  end.set_hint(HintFor(reason, run));
  return end;
}

v1::WorkerEvent::End HostMemoryRanOut(const std::string& said, const FailedRun& run) {
  return Failure(v1::HOST_MEMORY_GUARD, absl::StrCat("the host's memory ran out: ", said), run);
}

}  // namespace

// A status's reason becomes the failure reason of the same name. These two have none; any other
// without one becomes INTERNAL.
v1::WorkerEvent::End FailureOf(const absl::Status& status, const FailedRun& run) {
  v1::FailureReason reason = v1::INTERNAL;
  const Reason cause = ReasonOf(status);
  if (cause == Reason::kPathNotWritable) {
    reason = v1::DISK_FULL;
  } else if (cause == Reason::kModeUnsupported) {
    reason = v1::DATASET_INVALID;  // its format; all else is refused at submit
  } else if (!v1::FailureReason_Parse(ReasonNameOf(status), &reason)) {
    reason = v1::INTERNAL;
  }
  return Failure(reason, std::string(status.message()), run);
}

// Out of memory, to the engine, is the device's; on a CPU that is the host's.
v1::WorkerEvent::End FailureOf(const engine::EngineError& error, const FailedRun& run) {
  switch (error.kind()) {
    case engine::EngineError::Kind::kModel:
      return Failure(v1::MODEL_CORRUPT, error.what(), run);
    case engine::EngineError::Kind::kOutOfMemory:
      if (run.on_gpu) return Failure(v1::GPU_OUT_OF_MEMORY, error.what(), run);
      return HostMemoryRanOut(error.what(), run);
    case engine::EngineError::Kind::kDiskFull:
      return Failure(v1::DISK_FULL, error.what(), run);
    case engine::EngineError::Kind::kInternal:
      break;
  }
  return Failure(v1::INTERNAL, error.what(), run);
}

absl::Status StatusOf(const engine::EngineError& error) {
  switch (error.kind()) {
    case engine::EngineError::Kind::kModel:
      return Error(Reason::kModelCorrupt, error.what());
    case engine::EngineError::Kind::kOutOfMemory:
      return Error(Reason::kHostMemoryGuard, error.what());
    case engine::EngineError::Kind::kDiskFull:
      return Error(Reason::kDiskFull, error.what());
    case engine::EngineError::Kind::kInternal:
      break;
  }
  return Error(Reason::kInternal, error.what());
}

v1::WorkerEvent::End FailureOf(const std::bad_alloc& error, const FailedRun& run) {
  return HostMemoryRanOut(error.what(), run);
}

}  // namespace ftd

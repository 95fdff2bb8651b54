#include "worker/failure.h"

#include <string>

#include "artifacts/error.h"

namespace ftd {
namespace {

// What a user can do about it.
std::string HintFor(v1::FailureReason reason) {
  switch (reason) {
    case v1::DATASET_INVALID:
      return "mend the row that the message names, then try again";
    case v1::MODEL_NOT_FOUND:
    case v1::MODEL_CORRUPT:
      return "check the model directory, download it again if in doubt, then try again";
    case v1::MODEL_UNSUPPORTED:
      return "choose a Llama-architecture model with a BPE tokenizer.json";
    case v1::GPU_OUT_OF_MEMORY:
      return "lower --batch-size or --seq-length, or add --gradient-checkpointing";
    case v1::HOST_MEMORY_GUARD:
      return "free memory of the host, or lower --batch-size or --seq-length; what the last "
             "checkpoint holds is not lost";
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
      return "the checkpoint's bytes changed on disk; check the disk, then start anew";
    default:
      return "see what the worker said: `ftctl logs`, or above with ft-train";
  }
}

v1::WorkerEvent::End Failure(v1::FailureReason reason, const std::string& message) {
  v1::WorkerEvent::End end;
  end.set_outcome(v1::WorkerEvent::End::FAILED);
  end.set_failure_reason(reason);
  end.set_message(message);
  end.set_hint(HintFor(reason));
  return end;
}

}  // namespace

v1::WorkerEvent::End FailureOf(const absl::Status& status) {
  v1::FailureReason reason = v1::INTERNAL;
  const std::string name = ReasonOf(status);
  if (name == "PATH_NOT_WRITABLE") {
    reason = v1::DISK_FULL;
  } else if (name == "MODE_UNSUPPORTED") {  // of a dataset's format; all else is refused at submit
    reason = v1::DATASET_INVALID;
  } else if (!v1::FailureReason_Parse(name, &reason)) {
    reason = v1::INTERNAL;
  }
  return Failure(reason, std::string(status.message()));
}

v1::WorkerEvent::End FailureOf(const engine::EngineError& error) {
  switch (error.kind()) {
    case engine::EngineError::Kind::kModel:
      return Failure(v1::MODEL_CORRUPT, error.what());
    case engine::EngineError::Kind::kOutOfMemory:
      return Failure(v1::GPU_OUT_OF_MEMORY, error.what());
    case engine::EngineError::Kind::kDiskFull:
      return Failure(v1::DISK_FULL, error.what());
    case engine::EngineError::Kind::kInternal:
      break;
  }
  return Failure(v1::INTERNAL, error.what());
}

}  // namespace ftd

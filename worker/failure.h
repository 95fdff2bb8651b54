// From what went wrong to the end record that says so.
#pragma once

#include "absl/status/status.h"
#include "ftd/v1/worker.pb.h"
#include "worker/engine/train.h"

namespace ftd {

v1::WorkerEvent::End FailureOf(const absl::Status& status);
v1::WorkerEvent::End FailureOf(const engine::EngineError& error);

}  // namespace ftd

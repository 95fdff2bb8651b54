// An export for the daemon.
#pragma once

#include <filesystem>

#include "ftd/v1/worker.pb.h"
#include "worker/run/control_server.h"
#include "worker/run/run_observer.h"

namespace ftd {

// Puts a result into another form, at the lowest priority: `dir`/export is complete or not there.
// Reports progress in bytes, and what llama.cpp does otherwise as warnings.
v1::WorkerEvent::End ExportResult(const v1::AttemptRequest& request,
                                  const std::filesystem::path& dir, RunObserver& observer);

}  // namespace ftd

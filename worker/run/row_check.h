// A look at a job's rows without training.
#pragma once

#include <filesystem>

#include "ftd/v1/worker.pb.h"
#include "lib/spec/train_spec.h"
#include "worker/run/control_server.h"
#include "worker/run/run_observer.h"

namespace ftd {

// Does what the request's `row_check` asks for, at the lowest priority, and reports whether the
// rows are good. `dir` is the attempt's. Ends with the thread that started this process.
v1::WorkerEvent::End CheckRows(const v1::AttemptRequest& request, const TrainSpec& spec,
                               const std::filesystem::path& dir, RunObserver& observer,
                               const StopFlags& flags);

}  // namespace ftd

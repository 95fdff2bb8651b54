// A look at a job's rows without training.
#pragma once

#include <filesystem>

#include "ftd/v1/worker.pb.h"
#include "lib/spec/train_spec.h"
#include "worker/run/control_server.h"
#include "worker/run/run_observer.h"

namespace ftd {

// Tokenises the rows into the cache, at the lowest priority; reports what they are to `observer`,
// and returns whether they are good. `dir` is the attempt's. Ends with the thread that started this
// process.
v1::WorkerEvent::End CheckRows(const v1::AttemptRequest& request, const TrainSpec& spec,
                               const std::filesystem::path& dir, RunObserver& observer,
                               const StopFlags& flags);

}  // namespace ftd

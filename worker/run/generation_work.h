// Answers for the daemon: a model that stays loaded until nobody asks.
#pragma once

#include <filesystem>

#include "ftd/v1/worker.pb.h"
#include "lib/spec/train_spec.h"

namespace ftd {

// Serves what request.generation() asks for in `dir` (generation_server.h), and returns how it
// ended. Uses the GPU only while it holds the device's lock. Call before any other thread starts.
v1::WorkerEvent::End GenerateForDaemon(const v1::AttemptRequest& request, const TrainSpec& spec,
                                       const std::filesystem::path& dir);

}  // namespace ftd

// One run of training from its sources to its result: what `attempt` does for the daemon and
// `train` in the foreground.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

#include "ftd/v1/worker.pb.h"
#include "lib/spec/train_spec.h"
#include "worker/run/control_server.h"
#include "worker/run/run_observer.h"

namespace ftd {

// The places of the files that a run makes.
struct RunPlaces {
  std::filesystem::path dir;          // checkpoint-N/, and what is unfinished
  std::filesystem::path step_log;     // a new file
  std::filesystem::path tensorboard;  // a directory; made when it is not there
  std::filesystem::path result;       // made at the end, complete or not at all
  bool logs_in_result = true;         // with a TensorBoard log of the whole run
};

struct RunOrder {
  v1::AttemptRequest request;
  TrainSpec spec;  // that of the request
  RunPlaces places;
  std::string hub_token;
  // For when there is no time to end in order: records the end and ends the process. Called from
  // another thread.
  std::function<void(const v1::WorkerEvent::End&)> end_now;
};

// Fetches what is missing, tokenises, loads, resumes, trains with checkpoints, and writes the
// result. The end record says how it ended; nothing is thrown. Call engine::InitializeProcess
// first.
v1::WorkerEvent::End RunTraining(const RunOrder& order, RunObserver& observer, StopFlags& flags);

}  // namespace ftd

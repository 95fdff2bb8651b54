// The models that are loaded to answer, and who answers whom.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/functional/function_ref.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "lib/spec/train_spec.h"
#include "nlohmann/json.hpp"
#include "server/generation/model_host.h"
#include "server/host/state_dir.h"

namespace ftd {

// What is loaded.
struct HostedModel {
  std::filesystem::path model_dir, adapter_dir;  // no adapter: empty
  bool nf4 = false;                              // quantised, as mode qlora does
  bool operator==(const HostedModel&) const = default;
};

// Where, and what it computes in.
struct HostPlace {
  bool on_cpu = true;
  Dtype dtype = Dtype::kFloat32;
};

struct HostSettings {
  std::string worker;                 // program
  std::filesystem::path device_lock;  // that is held while a GPU is used
  int64_t idle_seconds = 300;         // until a worker that nobody asks ends
  int64_t most_models = 2;
};

// Who waits for an answer.
struct AnswerObserver {
  std::function<bool()> cancelled;           // asked ten times a second
  std::function<void(bool on_cpu)> loading;  // the model is being loaded
  // A reply of the worker's (worker/run/generation_server.h). An error ends the answer.
  std::function<absl::Status(const nlohmann::json& reply)> on_reply;
};

// Each model has one worker, which answers all who ask together; a worker ends when nobody has
// asked for a while, when another model needs its place, or when a job needs its GPU. Thread-safe.
class ModelHosts {
 public:
  // `state_dir` must outlive it.
  ModelHosts(const StateDir& state_dir, HostSettings settings)
      : state_dir_(state_dir), settings_(std::move(settings)) {}

  using Choose = absl::FunctionRef<absl::StatusOr<HostPlace>()>;

  // Blocks until the model has answered the request, a line of JSON (generation_server.h). `choose`
  // says where it would be loaded now, and is quick; FreeDevice does not come between that and the
  // worker's start. Errors: those of `choose` and of `on_reply`; CANCELLED; RESOURCE_EXHAUSTED
  // TOO_MANY_MODELS; UNAVAILABLE GENERATION_ENDED; what kept the worker from loading the model.
  absl::Status Answer(const HostedModel& model, Choose choose, const std::string& request,
                      const AnswerObserver& observer);

  // A job needs the GPU: ends the workers that have it. Returns at once.
  void FreeDevice();

 private:
  struct Slot {
    HostedModel model;
    HostPlace place;
    std::unique_ptr<ModelHost> host;
    int users = 0;
    absl::Time used;
  };
  // The users of a slot keep it, also when it is in the list no more.
  using Use = std::shared_ptr<Slot>;

  absl::StatusOr<Use> Take(const HostedModel& model, Choose choose);
  // Moves slots that are over, or are to be, from the list to `ended`.
  void RemoveEnded(std::vector<Use>* ended) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void End(const Use& slot, std::vector<Use>* ended) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::Status MakeRoom(std::vector<Use>* ended) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  Use Find(const HostedModel& model) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  absl::StatusOr<Use> StartHost(const HostedModel& model, const HostPlace& place)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void GiveBack(const Use& use);

  const StateDir& state_dir_;
  const HostSettings settings_;
  absl::Mutex mutex_;
  std::vector<Use> slots_ ABSL_GUARDED_BY(mutex_);
  int64_t started_ ABSL_GUARDED_BY(mutex_) = 0;
};

}  // namespace ftd

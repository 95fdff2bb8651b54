// A worker that keeps a model loaded and answers requests for text.
#pragma once

#include <filesystem>
#include <memory>
#include <optional>
#include <string>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/file.h"

namespace ftd {

// Starting it does not wait for the model. Thread-safe.
class ModelHost {
 public:
  // Starts `worker` on the request in a new directory. Errors: those of files and of the spawn.
  static absl::StatusOr<std::unique_ptr<ModelHost>> Start(const std::string& worker,
                                                          const std::filesystem::path& dir,
                                                          const v1::AttemptRequest& request);
  // Kills the worker, waits for its end and removes its directory.
  ~ModelHost();

  // Has the worker killed, soon: its answers end where they are.
  void Kill();
  bool killed() const;
  // Whether an answer has begun, so the model is loaded.
  void SetReady();
  bool ready() const;
  // How the worker ended; none while it runs. OK: nobody had asked for long, or Kill.
  std::optional<absl::Status> End() const;

  // Connects to it. UNAVAILABLE: it does not listen yet, or no longer.
  absl::StatusOr<Fd> Connect() const;

 private:
  explicit ModelHost(std::filesystem::path dir) : dir_(std::move(dir)) {}
  void Run(const std::string& worker, Fd lock);

  const std::filesystem::path dir_;
  mutable absl::Mutex mutex_;
  bool killed_ ABSL_GUARDED_BY(mutex_) = false;
  bool ready_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  std::thread thread_;
};

}  // namespace ftd

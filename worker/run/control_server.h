// The worker's way to receive requests: control.sock and SIGTERM.
#pragma once

#include <atomic>
#include <filesystem>
#include <functional>
#include <thread>

#include "absl/status/statusor.h"
#include "lib/base/file.h"

namespace ftd {

// The requests of others to the worker. Read by the training loop.
struct StopFlags {
  // Whoever sees `halt` sees whether it is a stop.
  void Stop() {
    stop = true;
    halt = true;
  }
  std::atomic<bool> stop{false};  // save, then end
  std::atomic<bool> halt{false};  // take no more steps; unless also `stop`: make the result of
                                  // those taken
};

// Listens on `attempt_dir`/control.sock in a thread of its own until destroyed. SIGTERM and SIGINT
// count as a stop with saving. A stop without saving calls `on_abandon`, which does not return:
// whatever the training thread is doing, nothing that it has not finished is of use to anybody.
class ControlServer {
 public:
  // Call before any other thread starts: blocks SIGTERM and SIGINT in this and all later threads.
  static absl::StatusOr<std::unique_ptr<ControlServer>> Start(
      const std::filesystem::path& attempt_dir, StopFlags* flags, std::function<void()> on_abandon);
  ~ControlServer();

 private:
  ControlServer() = default;
  void Serve();
  void Answer(int connection);

  StopFlags* flags_ = nullptr;
  std::function<void()> on_abandon_;
  Fd listener_, signals_, wake_;
  std::thread thread_;
};

}  // namespace ftd

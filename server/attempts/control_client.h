// The daemon's end of a worker's control socket.
#pragma once

#include <filesystem>
#include <optional>

#include "absl/status/status.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/file.h"

namespace ftd {

// Connects again for each request, since a worker answers one and closes the connection. Keeps the
// newest one, so that the worker's answer finds a reader. Not thread-safe.
class ControlClient {
 public:
  explicit ControlClient(std::filesystem::path attempt_dir)
      : attempt_dir_(std::move(attempt_dir)) {}

  // Sends one request; never blocks. UNAVAILABLE while the worker has no socket yet or is gone.
  absl::Status Send(const v1::ControlRequest& request);

 private:
  absl::Status Connect();
  std::filesystem::path attempt_dir_;
  Fd socket_;
};

}  // namespace ftd

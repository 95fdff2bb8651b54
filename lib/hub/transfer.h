// Several files between this machine and the hub at a time, in either direction.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <vector>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/hub/transport/http_client.h"

namespace ftd::hub {

struct TransferProgress {
  int64_t done_bytes = 0;
  int64_t total_bytes = 0;
  double bytes_per_second = 0;  // of the last few seconds; 0: not known yet
};

struct TransferOptions {
  int connections = 8;
  // The time without any byte after which a transfer is given up.
  absl::Duration patience = absl::Minutes(15);
  // Called about five times a second, and at the end, from the calling thread; may be empty.
  std::function<void(const TransferProgress&)> progress;
  // Asked from any thread; may be empty.
  std::function<bool()> cancelled;
};

// Moves the file of that index, and calls `done` with the bytes that have their place.
using Transfer = std::function<absl::Status(HttpClient& http, size_t index,
                                            const std::function<void(int64_t bytes)>& done)>;

// Calls `transfer` for each file, given by its size, the largest first, on a few threads with a
// connection each. The first error ends them all and is returned; CANCELLED.
absl::Status RunTransfers(const std::vector<int64_t>& sizes, const TransferOptions& options,
                          const Transfer& transfer);

}  // namespace ftd::hub

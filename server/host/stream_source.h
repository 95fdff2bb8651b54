// The source of a server-side stream's messages.
#pragma once

#include <optional>

#include "absl/status/statusor.h"

namespace ftd {

// Gives out messages one at a time, each only when the one before it has left. Used by one thread
// at a time.
template <typename Message>
class StreamSource {
 public:
  virtual ~StreamSource() = default;
  // The next message; none when there is nothing now. An error ends the stream with it.
  virtual absl::StatusOr<std::optional<Message>> Next() = 0;
  // What Next would give, if that takes no look at the disk; else nullopt, and nothing was taken.
  virtual std::optional<absl::StatusOr<std::optional<Message>>> NextFromMemory() {
    return std::nullopt;
  }
  // After Next gave none: nothing will ever come again, the stream ends with OK.
  virtual bool AtEnd() const = 0;
  // After Next gave none and AtEnd is false: a sign of life, if one is due.
  virtual std::optional<Message> Idle() { return std::nullopt; }
};

}  // namespace ftd

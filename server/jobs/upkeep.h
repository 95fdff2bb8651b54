// What an operator's day leaves in the database: files that retention removed, a drained queue.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "absl/time/time.h"

namespace ftd {

enum class RemovalKind { kCheckpoints, kLogs, kResult, kUpload };
inline constexpr RemovalKind kAllRemovalKinds[] = {RemovalKind::kCheckpoints, RemovalKind::kLogs,
                                                   RemovalKind::kResult, RemovalKind::kUpload};

// "CHECKPOINTS": the name in the API and in the database.
const char* RemovalKindName(RemovalKind kind);
std::optional<RemovalKind> ParseRemovalKind(std::string_view name);

// Files of a job that are gone.
struct Removal {
  RemovalKind kind = RemovalKind::kCheckpoints;
  int64_t bytes = 0;  // of all times together
  absl::Time time;    // of the last one
  std::string owner;  // who asked for the last one; empty: ftd by itself
};

// The queue starts no attempts.
struct QueueDrain {
  std::string message;
  std::string owner;  // who drained it
  absl::Time time;
};

}  // namespace ftd

// Rows that were checked when they were tokenised.
#pragma once

#include <string>
#include <utility>

#include "absl/status/statusor.h"
#include "worker/engine/error.h"

namespace ftd::engine {

// Returns the value, or throws EngineError: a row that cannot be read any more is an internal
// error.
template <typename T>
T Readable(absl::StatusOr<T> value) {
  if (value.ok()) return *std::move(value);
  throw EngineError(EngineError::Kind::kInternal, std::string(value.status().message()));
}

}  // namespace ftd::engine

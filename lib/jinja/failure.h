// Errors inside the library. An error ends the whole of a parse or a rendering, from any depth of
// an expression, so inside it is an exception; Template catches it, once, and returns a status.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <utility>

#include "absl/status/status.h"

namespace ftd::jinja {

struct Failure {
  std::string message;
  absl::StatusCode code = absl::StatusCode::kInvalidArgument;
  bool raised = false;                        // by the template's own raise_exception
  std::optional<uint32_t> at = std::nullopt;  // byte of the source; nullopt: where the renderer is
};

[[noreturn]] inline void Fail(std::string message) { throw Failure{std::move(message)}; }
[[noreturn]] inline void FailAt(uint32_t at, std::string message) {
  throw Failure{std::move(message), absl::StatusCode::kInvalidArgument, false, at};
}
[[noreturn]] inline void FailLimit(std::string message) {
  throw Failure{std::move(message), absl::StatusCode::kResourceExhausted};
}

}  // namespace ftd::jinja

// The engine's one error.
#pragma once

#include <stdexcept>
#include <string>

namespace ftd::engine {

// The one exception of the engine.
class EngineError : public std::runtime_error {
 public:
  enum class Kind {
    kModel,        // a file of the model or adapter is missing, damaged or does not fit
    kOutOfMemory,  // the device's memory did not suffice
    kDiskFull,     // no space for a file
    kInternal,     // anything else
  };
  EngineError(Kind kind, const std::string& message) : std::runtime_error(message), kind_(kind) {}
  Kind kind() const { return kind_; }

 private:
  Kind kind_;
};

}  // namespace ftd::engine

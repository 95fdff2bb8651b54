// The daemon's log: stderr, one line per event: time, level, message. Never a secret, never a row
// of data.
#pragma once

#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace ftd {

enum class LogLevel { kInfo, kWarning, kError };

// Writes one line with one write(2); line breaks in `message` become spaces. Thread-safe.
void LogLine(LogLevel level, std::string_view message);

template <typename... Parts>
void LogInfo(const Parts&... parts) {
  LogLine(LogLevel::kInfo, absl::StrCat(parts...));
}
template <typename... Parts>
void LogWarning(const Parts&... parts) {
  LogLine(LogLevel::kWarning, absl::StrCat(parts...));
}
inline void LogHubTrouble(const std::string& message) { LogLine(LogLevel::kWarning, message); }
template <typename... Parts>
void LogError(const Parts&... parts) {
  LogLine(LogLevel::kError, absl::StrCat(parts...));
}

}  // namespace ftd

// The daemon's log: stderr, one line per event: time, level, what it is about, message. Never a
// secret, never a row of data.
//
//   2026-01-31T12:00:00.000Z info job=ft-… attempt=1 started, pid 4711
//
// Where stderr is the journal ($JOURNAL_STREAM), which has times of its own, the level is its
// priority prefix: "<6>job=ft-… attempt=1 started, pid 4711". As logfmt and as JSON the same line
// is
//
//   time=2026-01-31T12:00:00.000Z level=info job=ft-… attempt=1 msg="started, pid 4711"
//   {"time":"2026-01-31T12:00:00.000Z","level":"info","job":"ft-…","attempt":1,"msg":"started, …"}
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/strings/str_cat.h"

namespace ftd {

enum class LogLevel { kInfo, kWarning, kError };
enum class LogFormat { kText, kLogfmt, kJson };

inline constexpr const char* kLogLevels[] = {"info", "warning", "error"};
inline constexpr const char* kLogFormats[] = {"text", "logfmt", "json"};

// From now on lines have this format, and those below `least` are left out. Before it: text, all.
// Call before there are threads. Requires: words of the two lists.
void SetUpLog(std::string_view format, std::string_view least);

// What a line is about; what is empty is left out. Written as name=value before the message, so
// that a search for "job=ft-…" finds all lines of a job. Values have no spaces.
struct About {
  std::string_view job;  // id
  int32_t attempt = 0;
  std::string_view request_id;
};

// Writes one line with one write(2); line breaks in `message` become spaces. Thread-safe.
void LogLine(LogLevel level, const About& about, std::string_view message);

// Each with or without an About before the message's parts.
template <typename... Parts>
void LogInfo(const About& about, const Parts&... parts) {
  LogLine(LogLevel::kInfo, about, absl::StrCat(parts...));
}
template <typename... Parts>
void LogInfo(const Parts&... parts) {
  LogLine(LogLevel::kInfo, {}, absl::StrCat(parts...));
}
template <typename... Parts>
void LogWarning(const About& about, const Parts&... parts) {
  LogLine(LogLevel::kWarning, about, absl::StrCat(parts...));
}
template <typename... Parts>
void LogWarning(const Parts&... parts) {
  LogLine(LogLevel::kWarning, {}, absl::StrCat(parts...));
}
template <typename... Parts>
void LogError(const About& about, const Parts&... parts) {
  LogLine(LogLevel::kError, about, absl::StrCat(parts...));
}
template <typename... Parts>
void LogError(const Parts&... parts) {
  LogLine(LogLevel::kError, {}, absl::StrCat(parts...));
}
inline void LogHubTrouble(const std::string& message) { LogWarning(message); }

}  // namespace ftd

#include "server/log.h"

#include <unistd.h>

#include <algorithm>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace ftd {

void LogLine(LogLevel level, std::string_view message) {
  constexpr const char* kNames[] = {"info", "warning", "error"};
  std::string line =
      absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()), " ",
                   kNames[static_cast<size_t>(level)], " ", std::string(message));
  std::replace(line.begin(), line.end(), '\n', ' ');
  line.push_back('\n');
  // Nowhere is left to report a failure to log.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace ftd

#include "server/host/log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <iterator>
#include <string>

#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/utf8.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

// Returns whether stderr is the journal. $JOURNAL_STREAM names the journal's end of the stream by
// device and inode; a process whose stderr was redirected inherits the variable all the same.
bool StderrIsJournal() {
  const char* journal = std::getenv("JOURNAL_STREAM");
  struct stat ours;
  return journal != nullptr && fstat(STDERR_FILENO, &ours) == 0 &&
         absl::StrCat(ours.st_dev, ":", ours.st_ino) == journal;
}

LogFormat format = LogFormat::kText;
LogLevel least_level = LogLevel::kInfo;

template <size_t N>
size_t IndexOf(std::string_view word, const char* const (&words)[N]) {
  return static_cast<size_t>(std::find(std::begin(words), std::end(words), word) - words);
}

// In UTC.
std::string TimeNow() {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone());
}

// sd-daemon(3): a priority in angle brackets, which the journal takes off. It adds the time itself.
std::string Priority(LogLevel level) {
  static const bool journal = StderrIsJournal();
  constexpr const char* kPriorities[] = {"<6>", "<4>", "<3>"};
  return journal ? kPriorities[static_cast<size_t>(level)] : "";
}

std::string Name(LogLevel level) { return kLogLevels[static_cast<size_t>(level)]; }

// "job=ft-… attempt=1 ", as text and logfmt have it.
std::string Subject(const About& about) {
  std::string text;
  if (!about.job.empty()) absl::StrAppend(&text, "job=", std::string(about.job), " ");
  if (about.attempt != 0) absl::StrAppend(&text, "attempt=", about.attempt, " ");
  if (!about.request_id.empty())
    absl::StrAppend(&text, "request_id=", std::string(about.request_id), " ");
  return text;
}

std::string JsonLine(LogLevel level, const About& about, std::string_view message) {
  nlohmann::ordered_json line = {{"time", TimeNow()}, {"level", Name(level)}};
  if (!about.job.empty()) line["job"] = about.job;
  if (about.attempt != 0) line["attempt"] = about.attempt;
  if (!about.request_id.empty()) line["request_id"] = about.request_id;
  line["msg"] = message;
  return line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
}

// One line for each message: what follows a line break could be taken for another message, and a
// terminal would obey what follows an escape.
std::string OnOneLine(std::string_view message) {
  std::string line = RepairUtf8(message);
  std::replace_if(line.begin(), line.end(), absl::ascii_iscntrl, ' ');
  return line;
}

std::string Line(LogLevel level, const About& about, std::string_view message) {
  const std::string priority = Priority(level);
  switch (format) {
    case LogFormat::kJson:
      return absl::StrCat(priority, JsonLine(level, about, message));
    case LogFormat::kLogfmt:
      return absl::StrCat(priority, "time=", TimeNow(), " level=", Name(level), " ", Subject(about),
                          "msg=\"", absl::Utf8SafeCHexEscape(OnOneLine(message)), "\"");
    case LogFormat::kText:
      break;
  }
  const std::string head =
      priority.empty() ? absl::StrCat(TimeNow(), " ", Name(level), " ") : priority;
  return absl::StrCat(head, Subject(about), OnOneLine(message));
}

}  // namespace

void SetUpLog(std::string_view name, std::string_view least) {
  format = static_cast<LogFormat>(IndexOf(name, kLogFormats));
  least_level = static_cast<LogLevel>(IndexOf(least, kLogLevels));
}

void LogLine(LogLevel level, const About& about, std::string_view message) {
  if (level < least_level) return;
  const std::string line = Line(level, about, message) + "\n";
  // One write, so that lines of several threads do not mix. If it fails, there is nowhere to report
  // that.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace ftd

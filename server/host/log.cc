#include "server/host/log.h"

#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <string>

#include "absl/time/clock.h"
#include "absl/time/time.h"

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

// Outside the journal a line has its own time, in UTC, and the level as a word.
std::string Head(LogLevel level) {
  static const bool journal = StderrIsJournal();
  // sd-daemon(3): a priority in angle brackets, which the journal takes off. It adds the time
  // itself.
  constexpr const char* kPriorities[] = {"<6>", "<4>", "<3>"};
  constexpr const char* kNames[] = {"info", "warning", "error"};
  const auto index = static_cast<size_t>(level);
  if (journal) return kPriorities[index];
  return absl::StrCat(absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone()),
                      " ", kNames[index], " ");
}

}  // namespace

void LogLine(LogLevel level, const About& about, std::string_view message) {
  std::string line = Head(level);
  if (!about.job.empty()) absl::StrAppend(&line, "job=", std::string(about.job), " ");
  if (about.attempt != 0) absl::StrAppend(&line, "attempt=", about.attempt, " ");
  if (!about.request_id.empty()) {
    absl::StrAppend(&line, "request_id=", std::string(about.request_id), " ");
  }
  line.append(message);
  // One line for each message: what follows a line break could be taken for another message.
  std::replace(line.begin(), line.end(), '\n', ' ');
  line.push_back('\n');
  // One write, so that lines of several threads do not mix. If it fails, there is nowhere to report
  // that.
  [[maybe_unused]] const ssize_t written = write(STDERR_FILENO, line.data(), line.size());
}

}  // namespace ftd

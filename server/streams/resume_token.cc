#include "server/streams/resume_token.h"

#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

// Changes when the fields do, so that a token of another release is recognised.
constexpr char kTokenVersion[] = "1";

}  // namespace

// "1/JOB/SEQUENCE/ATTEMPT/EVENTS_OFFSET/ROWS" in web-safe base 64. The encoding hides nothing; it
// keeps clients from reading meaning into it.
std::string EncodeResumeToken(const std::string& job_id, const WatchPosition& position) {
  return absl::WebSafeBase64Escape(absl::StrCat(kTokenVersion, "/", job_id, "/", position.sequence,
                                                "/", position.attempt, "/", position.events_offset,
                                                "/", position.rows));
}

absl::StatusOr<WatchPosition> DecodeResumeToken(const std::string& job_id,
                                                const std::string& token) {
  const absl::Status refused = FieldError({{"resume_token",
                                            "is not one of this job's; pass on what a WatchJob of "
                                            "this job gave, or none to start over"}});
  std::string text;
  if (!absl::WebSafeBase64Unescape(token, &text)) return refused;
  const std::vector<std::string> parts = absl::StrSplit(text, '/');
  WatchPosition position;
  // A token comes from outside: each number is checked before anything seeks by it.
  const bool good = parts.size() == 6 && parts[0] == kTokenVersion && parts[1] == job_id &&
                    absl::SimpleAtoi(parts[2], &position.sequence) &&
                    absl::SimpleAtoi(parts[3], &position.attempt) &&
                    absl::SimpleAtoi(parts[4], &position.events_offset) &&
                    absl::SimpleAtoi(parts[5], &position.rows);
  if (!good || position.sequence < 0 || position.attempt < 1 || position.rows < 0) return refused;
  return position;
}

}  // namespace ftd

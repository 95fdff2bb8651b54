#include "server/api/page_token.h"

#include <limits>

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

// Returns the filter as text: a token holds it, so that a page is not continued under another one.
std::string FilterOf(const std::vector<JobState>& states) {
  std::string filter;
  for (const JobState state : states) absl::StrAppend(&filter, JobStateName(state), ",");
  return filter;
}

}  // namespace

// "page/ORDINAL/STATE,STATE," in URL-safe Base64. Clients must treat it as opaque.
std::string EncodePageToken(int64_t ordinal, const std::vector<JobState>& states) {
  return absl::WebSafeBase64Escape(absl::StrCat("page/", ordinal, "/", FilterOf(states)));
}

absl::StatusOr<int64_t> DecodePageToken(const std::string& token,
                                        const std::vector<JobState>& states) {
  if (token.empty()) return std::numeric_limits<int64_t>::max();
  // A token comes from outside: anything but what EncodePageToken writes is refused.
  std::string text;
  int64_t ordinal = 0;
  if (absl::WebSafeBase64Unescape(token, &text)) {
    const std::vector<std::string> parts = absl::StrSplit(text, '/');
    if (parts.size() == 3 && parts[0] == "page" && absl::SimpleAtoi(parts[1], &ordinal) &&
        parts[2] == FilterOf(states)) {
      return ordinal;
    }
  }
  return FieldError(
      {{"page_token", "is not a next_page_token of this list; start again without one"}});
}

}  // namespace ftd

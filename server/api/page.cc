#include "server/api/page.h"

#include "absl/strings/escaping.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"

namespace ftd {

// "page/POSITION/FILTER" in URL-safe Base64.
std::string EncodePageToken(int64_t position, const std::string& filter) {
  return absl::WebSafeBase64Escape(absl::StrCat("page/", position, "/", filter));
}

absl::StatusOr<int64_t> DecodePageToken(const std::string& token, const std::string& filter,
                                        int64_t first) {
  if (token.empty()) return first;
  // A token comes from outside: anything but what EncodePageToken writes is refused.
  std::string text;
  int64_t position = 0;
  if (absl::WebSafeBase64Unescape(token, &text)) {
    const std::vector<std::string> parts = absl::StrSplit(text, absl::MaxSplits('/', 2));
    if (parts.size() == 3 && parts[0] == "page" && absl::SimpleAtoi(parts[1], &position) &&
        parts[2] == filter) {
      return position;
    }
  }
  return FieldError(
      {{"page_token", "is not a next_page_token of this list; start again without one"}});
}

}  // namespace ftd

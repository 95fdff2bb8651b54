#include "lib/hub/transport/url.h"

#include <curl/curl.h>

#include <memory>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"

namespace ftd::hub {
namespace {

struct UrlDeleter {
  void operator()(CURLU* url) const { curl_url_cleanup(url); }
};
using Url = std::unique_ptr<CURLU, UrlDeleter>;

// Null for text that is not a URL.
Url ParseUrl(const std::string& text) {
  Url url(curl_url());
  if (curl_url_set(url.get(), CURLUPART_URL, text.c_str(), 0) != CURLUE_OK) return nullptr;
  return url;
}

// With the scheme's port if the URL names none, so that https://a and https://a:443 are the same.
std::string Part(const Url& url, CURLUPart part) {
  char* text = nullptr;
  if (url == nullptr || curl_url_get(url.get(), part, &text, CURLU_DEFAULT_PORT) != CURLUE_OK)
    return "";
  std::string copy = text;
  curl_free(text);
  return copy;
}

}  // namespace

std::string SchemeOf(const std::string& url) { return Part(ParseUrl(url), CURLUPART_SCHEME); }
std::string HostOf(const std::string& url) { return Part(ParseUrl(url), CURLUPART_HOST); }

bool SameOrigin(const std::string& a, const std::string& b) {
  const Url left = ParseUrl(a), right = ParseUrl(b);
  return left != nullptr && right != nullptr &&
         Part(left, CURLUPART_SCHEME) == Part(right, CURLUPART_SCHEME) &&
         absl::EqualsIgnoreCase(Part(left, CURLUPART_HOST), Part(right, CURLUPART_HOST)) &&
         Part(left, CURLUPART_PORT) == Part(right, CURLUPART_PORT);
}

// Set on the old URL, a relative location is resolved against it.
std::optional<std::string> ResolveUrl(const std::string& base, const std::string& location) {
  const Url url = ParseUrl(base);
  if (url == nullptr || curl_url_set(url.get(), CURLUPART_URL, location.c_str(), 0) != CURLUE_OK)
    return std::nullopt;
  return Part(url, CURLUPART_URL);
}

std::string EscapeUrl(const std::string& text, bool keep_slashes) {
  std::string escaped;
  for (const char c : text) {
    const bool plain = absl::ascii_isalnum(static_cast<unsigned char>(c)) || c == '-' || c == '_' ||
                       c == '.' || c == '~' || (keep_slashes && c == '/');
    if (plain) {
      escaped += c;
    } else {
      absl::StrAppend(&escaped, "%", absl::Hex(static_cast<unsigned char>(c), absl::kZeroPad2));
    }
  }
  return escaped;
}

}  // namespace ftd::hub

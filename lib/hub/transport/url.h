// Addresses: their parts, and how they are put together.
#pragma once

#include <optional>
#include <string>

namespace ftd::hub {

// "" for what is not a URL.
std::string SchemeOf(const std::string& url);
std::string HostOf(const std::string& url);

// Returns whether scheme, host and port are the same; a scheme's own port is the same as none.
bool SameOrigin(const std::string& a, const std::string& b);

// Returns the address that `location`, which may be relative, means in an answer of `base`.
std::optional<std::string> ResolveUrl(const std::string& base, const std::string& location);

// Percent-encoding as in RFC 3986. A branch "refs/pr/1" is one segment of the URL, so its slashes
// are encoded.
std::string EscapeUrl(const std::string& text, bool keep_slashes);

}  // namespace ftd::hub

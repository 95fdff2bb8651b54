#include "server/host/listen_address.h"

#include <sys/un.h>

#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

absl::Status BadAddress(const std::string& text, const char* what) {
  return Error(Reason::kConfigInvalid, absl::StatusCode::kInvalidArgument,
               absl::StrCat("address \"", text, "\" ", what));
}

// Loopback by name or literal address. Other names are not resolved: what they mean may change.
bool IsLoopback(const std::string& host) {
  return host == "localhost" || host == "::1" || absl::StartsWith(host, "127.");
}

}  // namespace

absl::StatusOr<HostPort> ParseHostPort(const std::string& text) {
  HostPort address;
  const size_t colon = text.rfind(':');
  if (colon == std::string::npos || colon == 0) return BadAddress(text, "is not HOST:PORT");
  // rfind: an IPv6 address has colons itself, "[::1]:7443".
  address.host = text.substr(0, colon);
  if (address.host.size() > 2 && address.host.front() == '[' && address.host.back() == ']') {
    address.host = address.host.substr(1, address.host.size() - 2);
  }
  if (!absl::SimpleAtoi(text.substr(colon + 1), &address.port) || address.port < 0 ||
      address.port > 65535) {
    return BadAddress(text, "has no port from 0 to 65535");
  }
  return address;
}

absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text, bool tls) {
  ListenAddress address;
  if (absl::StartsWith(text, "unix:")) {
    address.unix_path = text.substr(5);
    if (address.unix_path.empty()) return BadAddress(text, "has no path");
    if (address.unix_path.size() >= sizeof(sockaddr_un::sun_path)) {
      return BadAddress(
          text,
          "is longer than the 107 bytes that a unix socket's path may have; choose a shorter one");
    }
    return address;
  }
  FTD_ASSIGN_OR_RETURN(address.tcp, ParseHostPort(text));
  // A token or prompt must not cross a network in plain text.
  if (!tls && !IsLoopback(address.tcp.host)) {
    return BadAddress(
        text,
        "is not on loopback, where plaintext is refused; give tls_cert and tls_key, or serve "
        "unix:PATH and 127.0.0.1:PORT only");
  }
  return address;
}

}  // namespace ftd

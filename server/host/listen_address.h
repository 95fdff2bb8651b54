// Addresses to listen on, as text.
#pragma once

#include <string>

#include "absl/status/statusor.h"

namespace ftd {

struct HostPort {
  std::string host;  // without brackets
  int port = 0;
};

// "127.0.0.1:7444", "[::1]:0", "localhost:80". INVALID_ARGUMENT CONFIG_INVALID.
absl::StatusOr<HostPort> ParseHostPort(const std::string& text);

// Either a unix socket's path or a host and port.
struct ListenAddress {
  std::string unix_path;  // empty: TCP
  HostPort tcp;
};

// "unix:PATH" or "HOST:PORT", which without `tls` is on loopback. INVALID_ARGUMENT CONFIG_INVALID:
// neither; a path longer than a socket's address holds; a host off loopback, where plaintext is
// refused.
absl::StatusOr<ListenAddress> ParseListenAddress(const std::string& text, bool tls);

}  // namespace ftd

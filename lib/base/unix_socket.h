// Unix sockets by their folder. A socket's address holds at most 108 bytes, and a path may have
// more, so the address goes through the folder's descriptor.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "lib/base/file.h"

namespace ftd {

// Listens on the socket, in place of one that an earlier process left: bind(2) never replaces a
// file. `type`: SOCK_STREAM or SOCK_SEQPACKET, with SOCK_NONBLOCK if wanted; close-on-exec is set.
// Errors: ErrnoError's; INVALID_ARGUMENT for a name that is too long.
absl::StatusOr<Fd> ListenOn(const std::filesystem::path& socket, int type, int backlog);

// Connects to it. UNAVAILABLE: nobody listens, or not yet. Other errors: ErrnoError's.
absl::StatusOr<Fd> ConnectTo(const std::filesystem::path& socket, int type);

}  // namespace ftd

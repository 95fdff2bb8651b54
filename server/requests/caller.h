// Who makes a call, as far as the transport has proved it.
#pragma once

#include <sys/types.h>

#include <optional>
#include <string>

#include "server/host/role.h"

namespace ftd {

struct Caller {
  // As jobs name their owner: a local user's name, or its number where it has none; "token:NAME" or
  // "cert:NAME" over TLS; "tcp:anonymous" over plaintext. No local user's name has a colon, so no
  // token and no certificate can pass for a user.
  std::string owner;
  std::optional<uid_t> uid;  // of a local user, on a unix socket; none over TCP
  Role role = Role::kRead;
};

}  // namespace ftd

#include "server/attempts/control_client.h"

#include <sys/socket.h>

#include <cerrno>
#include <string>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/unix_socket.h"

namespace ftd {

// SOCK_SEQPACKET keeps the boundaries of messages: one packet is one request.
absl::Status ControlClient::Connect() {
  auto connected = ConnectTo(attempt_dir_ / "control.sock", SOCK_SEQPACKET | SOCK_NONBLOCK);
  if (absl::IsUnavailable(connected.status()))
    return Prefixed(connected.status(),
                    absl::StrCat("the worker of ", attempt_dir_.string(), " does not answer: "));
  FTD_ASSIGN_OR_RETURN(socket_, std::move(connected));
  return absl::OkStatus();
}

// Never waits: the runner's thread must not hang on a worker that does.
absl::Status ControlClient::Send(const v1::ControlRequest& request) {
  FTD_RETURN_IF_ERROR(Connect());
  const std::string packet = request.SerializeAsString();
  if (send(socket_.get(), packet.data(), packet.size(), MSG_NOSIGNAL | MSG_DONTWAIT) >= 0) {
    return absl::OkStatus();
  }
  return absl::UnavailableError(absl::StrCat("cannot send to the worker of ", attempt_dir_.string(),
                                             ": ", std::generic_category().message(errno)));
}

}  // namespace ftd

#include "server/attempts/control_client.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>

#include <cerrno>
#include <cstdio>
#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {

absl::Status ControlClient::Connect() {
  FTD_ASSIGN_OR_RETURN(const Fd directory, OpenFile(attempt_dir_, O_PATH | O_DIRECTORY));
  // SOCK_SEQPACKET keeps the boundaries of messages: one packet is one request.
  Fd fd(socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return ErrnoError(errno, "socket");
  // The address goes through /proc, because the directory's own path may be longer than the 108
  // bytes of a socket's address.
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/control.sock",
           directory.get());
  if (connect(fd.get(), reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0) {
    return absl::UnavailableError(
        absl::StrCat("the worker of ", attempt_dir_.string(),
                     " does not answer: ", std::generic_category().message(errno)));
  }
  socket_ = std::move(fd);
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

#include "server/host/service_manager.h"

#include <fcntl.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#include <algorithm>
#include <cerrno>
#include <cstddef>
#include <cstdlib>
#include <ctime>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

// Notifies the service manager. Failures are ignored: it may not listen.
void Notify(const std::string& state) { sd_notify(/*unset_environment=*/0, state.c_str()); }

// RELOADING=1 has to carry the monotonic time (sd_notify(3)).
int64_t MonotonicMicros() {
  timespec now{};
  clock_gettime(CLOCK_MONOTONIC, &now);
  return int64_t{now.tv_sec} * 1000000 + now.tv_nsec / 1000;
}

// Returns the path of a socket, "@NAME" for an abstract one. The length of the address counts: an
// abstract name is not terminated by a NUL.
std::string BoundPath(int fd) {
  sockaddr_un address{};
  socklen_t size = sizeof(address);
  if (getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  const size_t length = size - offsetof(sockaddr_un, sun_path);
  if (length == 0) return "";
  if (address.sun_path[0] != '\0') return address.sun_path;
  return absl::StrCat("@", std::string(address.sun_path + 1, length - 1));
}

}  // namespace

bool HasServiceManager() {
  const char* socket = std::getenv("NOTIFY_SOCKET");
  return socket != nullptr && socket[0] != '\0';
}

void NotifyReady() { Notify("READY=1"); }

void NotifyReloading() { Notify(absl::StrCat("RELOADING=1\nMONOTONIC_USEC=", MonotonicMicros())); }

void NotifyStopping() { Notify("STOPPING=1"); }

void NotifyStatus(const std::string& status) {
  Notify(absl::StrCat("STATUS=", absl::StrReplaceAll(status, {{"\n", " "}})));
}

void NotifyAlive() { Notify("WATCHDOG=1"); }

void NotifyNeedsTime(absl::Duration time) {
  Notify(absl::StrCat("EXTEND_TIMEOUT_USEC=", absl::ToInt64Microseconds(time)));
}

absl::Duration WatchdogInterval() {
  uint64_t micros = 0;
  if (sd_watchdog_enabled(/*unset_environment=*/0, &micros) <= 0) return absl::ZeroDuration();
  return absl::Microseconds(micros);
}

// Returns the number of passed sockets. sd_listen_fds sets close-on-exec on them, so that no worker
// gets them.
int PassedSocketCount() { return std::max(0, sd_listen_fds(/*unset_environment=*/0)); }

absl::StatusOr<std::vector<PassedSocket>> PassedSockets() {
  std::vector<PassedSocket> sockets;
  const int count = PassedSocketCount();
  for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; ++fd) {
    if (sd_is_socket_unix(fd, SOCK_STREAM, /*listening=*/1, nullptr, 0) <= 0) {
      return Error(Reason::kConfigInvalid,
                   absl::StrCat("descriptor ", fd,
                                ", passed by the service manager, is not a listening unix stream "
                                "socket; let ListenStream= name a path"));
    }
    // The originals stay open at their numbers for a re-exec (KeepPassedSockets).
    Fd socket(fcntl(fd, F_DUPFD_CLOEXEC, SD_LISTEN_FDS_START + count));
    if (!socket.valid()) return ErrnoError(errno, "duplicate a passed socket");
    fcntl(socket.get(), F_SETFL, fcntl(socket.get(), F_GETFL) | O_NONBLOCK);
    sockets.push_back({std::move(socket), BoundPath(fd)});
  }
  return sockets;
}

void KeepPassedSockets() {
  const int count = PassedSocketCount();
  for (int fd = SD_LISTEN_FDS_START; fd < SD_LISTEN_FDS_START + count; ++fd) {
    // Clears close-on-exec: the program that is executed next finds them at the same numbers.
    fcntl(fd, F_SETFD, 0);
  }
}

}  // namespace ftd

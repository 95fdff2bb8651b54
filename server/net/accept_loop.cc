#include "server/net/accept_loop.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>

#include <cerrno>
#include <system_error>
#include <utility>

#include "lib/base/error.h"
#include "server/host/log.h"

namespace ftd {

AcceptLoop::AcceptLoop(std::vector<Fd> sockets, Fd wake, Connections& connections)
    : sockets_(std::move(sockets)), wake_(std::move(wake)), connections_(connections) {}

absl::StatusOr<std::unique_ptr<AcceptLoop>> AcceptLoop::Create(std::vector<Fd> sockets,
                                                               Connections& connections) {
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoError(errno, "eventfd");
  return std::unique_ptr<AcceptLoop>(
      new AcceptLoop(std::move(sockets), std::move(wake), connections));
}

AcceptLoop::~AcceptLoop() { Stop(); }

void AcceptLoop::Start(Handler handler, Greetings* greetings) {
  thread_ =
      std::thread([this, handler = std::move(handler), greetings] { Run(handler, greetings); });
}

void AcceptLoop::Stop() {
  if (!thread_.joinable()) return;
  eventfd_write(wake_.get(), 1);
  thread_.join();
}

void AcceptLoop::Run(const Handler& handler, Greetings* greetings) {
  while (true) {
    std::vector<pollfd> polled = {{.fd = wake_.get(), .events = POLLIN}};
    for (const Fd& socket : sockets_) polled.push_back({.fd = socket.get(), .events = POLLIN});
    if (greetings != nullptr) greetings->AddTo(polled);
    const int wait_ms = connections_.empty() ? -1 : kSweepMs;
    if (poll(polled.data(), polled.size(), wait_ms) < 0 && errno != EINTR) return;
    if (polled[0].revents != 0) return;
    connections_.Sweep();
    if (greetings != nullptr) greetings->Look();
    for (size_t i = 1; i <= sockets_.size(); ++i)
      if (polled[i].revents != 0) AcceptOne(polled[i].fd, handler);
  }
}

void AcceptLoop::AcceptOne(int socket, const Handler& handler) {
  Fd connection(accept4(socket, nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (connection.valid()) return handler(socket, std::move(connection));
  // Other errors concern this connection only, which has gone already.
  if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) return;
  LogError("cannot accept a connection: ", std::generic_category().message(errno));
  pollfd wake{.fd = wake_.get(), .events = POLLIN};
  poll(&wake, 1, 100);  // the connection stays in the backlog: give others time to close theirs
}

}  // namespace ftd

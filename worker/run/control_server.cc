#include "worker/run/control_server.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

constexpr int kAnswerTimeoutMillis = 1000;

// Listens on control.sock. A socket address holds at most 108 bytes and an attempt's directory may
// be longer, so the address goes through its descriptor.
absl::StatusOr<Fd> Listen(const std::filesystem::path& dir) {
  FTD_ASSIGN_OR_RETURN(Fd dir_fd, OpenFile(dir, O_PATH | O_DIRECTORY));
  Fd listener(::socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0));
  if (!listener.valid()) return ErrnoError(errno, "socket");
  sockaddr_un address{};
  address.sun_family = AF_UNIX;
  std::snprintf(address.sun_path, sizeof address.sun_path, "/proc/self/fd/%d/control.sock",
                dir_fd.get());
  // Left by an earlier worker of this directory. bind never replaces a file.
  ::unlinkat(dir_fd.get(), "control.sock", 0);
  if (::bind(listener.get(), reinterpret_cast<sockaddr*>(&address), sizeof address) != 0 ||
      ::listen(listener.get(), 4) != 0) {
    return ErrnoError(errno, absl::StrCat("listen on ", (dir / "control.sock").string()));
  }
  return listener;
}

}  // namespace

absl::StatusOr<std::unique_ptr<ControlServer>> ControlServer::Start(
    const std::filesystem::path& attempt_dir, StopFlags* flags, std::function<void()> on_abandon) {
  // Blocked before any thread starts, so that all of them inherit it: the signals arrive here only,
  // as reads of a descriptor, and no handler has to be safe at any line.
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::unique_ptr<ControlServer> server(new ControlServer);
  server->flags_ = flags;
  server->on_abandon_ = std::move(on_abandon);
  server->signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC));
  server->wake_ = Fd(::eventfd(0, EFD_CLOEXEC));
  FTD_ASSIGN_OR_RETURN(server->listener_, Listen(attempt_dir));
  server->thread_ = std::thread([raw = server.get()] { raw->Serve(); });
  return server;
}

ControlServer::~ControlServer() {
  if (!thread_.joinable()) return;
  const uint64_t one = 1;
  if (::write(wake_.get(), &one, sizeof one) == sizeof one) thread_.join();
}

void ControlServer::Serve() {
  for (;;) {
    pollfd fds[] = {
        {listener_.get(), POLLIN, 0}, {signals_.get(), POLLIN, 0}, {wake_.get(), POLLIN, 0}};
    if (::poll(fds, 3, -1) < 0 && errno != EINTR) return;
    if (fds[2].revents != 0) return;
    // SIGTERM and SIGINT mean the same as Stop with `save`.
    if (fds[1].revents != 0) {
      signalfd_siginfo info;
      if (::read(signals_.get(), &info, sizeof info) == sizeof info) flags_->Stop();
    }
    if (fds[0].revents != 0) {
      const Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC));
      if (connection.valid()) Answer(connection.get());
    }
  }
}

// One request to a connection. A client that sends nothing delays the next by a second at most.
void ControlServer::Answer(int connection) {
  pollfd ready{connection, POLLIN, 0};
  if (::poll(&ready, 1, kAnswerTimeoutMillis) <= 0) return;
  char buffer[4096];
  const ssize_t n = ::recv(connection, buffer, sizeof buffer, 0);
  v1::ControlRequest request;
  v1::ControlReply reply;
  if (n <= 0 || !request.ParseFromArray(buffer, static_cast<int>(n))) {
    reply.set_message("not a ControlRequest");
  } else if (request.has_stop()) {
    reply.set_ok(true);
    // `halt` ends the step and makes the result; Stop sets `stop` too, which writes a checkpoint.
    if (request.stop().finish()) {
      flags_->halt = true;
    } else if (request.stop().save()) {
      flags_->Stop();
    }
  } else {
    reply.set_message("unknown request");
  }
  const std::string bytes = reply.SerializeAsString();
  // The answer goes out first: on_abandon_ ends the process.
  ::send(connection, bytes.data(), bytes.size(), MSG_NOSIGNAL);
  if (request.has_stop() && !request.stop().save()) on_abandon_();
}

}  // namespace ftd

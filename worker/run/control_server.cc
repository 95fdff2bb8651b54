#include "worker/run/control_server.h"

#include <poll.h>
#include <sys/eventfd.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <cstdio>

#include "absl/strings/str_cat.h"
#include "ftd/v1/worker.pb.h"
#include "lib/base/error.h"
#include "lib/base/unix_socket.h"

namespace ftd {
namespace {

constexpr int kAnswerTimeoutMillis = 1000;

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
  FTD_ASSIGN_OR_RETURN(server->listener_,
                       ListenOn(attempt_dir / "control.sock", SOCK_SEQPACKET, 4));
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

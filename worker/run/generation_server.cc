#include "worker/run/generation_server.h"

#include <poll.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <optional>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/unix_socket.h"
#include "worker/run/generation_request.h"

namespace ftd {
namespace {

using nlohmann::json;
using Clock = std::chrono::steady_clock;

constexpr size_t kMostRequestBytes = size_t{16} << 20;

std::string Line(const json& reply) {
  return reply.dump(-1, ' ', false, json::error_handler_t::replace) + "\n";
}

std::string ErrorLine(const absl::Status& status) {
  json reply = {{"error", std::string(status.message())}, {"reason", ReasonNameOf(status)}};
  for (const FieldViolation& violation : ViolationsOf(status))
    reply["fields"][violation.field] = violation.description;
  return Line(reply);
}

}  // namespace

absl::StatusOr<std::unique_ptr<GenerationServer>> GenerationServer::Start(
    const std::filesystem::path& socket) {
  sigset_t set;
  ::sigemptyset(&set);
  ::sigaddset(&set, SIGTERM);
  ::sigaddset(&set, SIGINT);
  ::pthread_sigmask(SIG_BLOCK, &set, nullptr);
  std::unique_ptr<GenerationServer> server(new GenerationServer);
  server->socket_ = std::filesystem::absolute(socket);
  server->signals_ = Fd(::signalfd(-1, &set, SFD_CLOEXEC));
  FTD_ASSIGN_OR_RETURN(server->listener_,
                       ListenOn(server->socket_, SOCK_STREAM | SOCK_NONBLOCK, SOMAXCONN));
  return server;
}

GenerationServer::~GenerationServer() {
  std::error_code ignored;
  if (listener_.valid()) std::filesystem::remove(socket_, ignored);
}

absl::Status GenerationServer::Serve(Generation& generation, std::chrono::seconds idle) {
  Clock::time_point last_use = Clock::now();
  for (;;) {
    const auto left =
        std::chrono::duration_cast<std::chrono::milliseconds>(last_use + idle - Clock::now());
    if (generation.idle() && left.count() <= 0) return absl::OkStatus();
    // Between two tokens nobody is waited for.
    if (Wait(generation.idle() ? static_cast<int>(std::min<int64_t>(left.count() + 1, 60'000)) : 0))
      return absl::OkStatus();
    for (Client& client : clients_) Read(generation, &client);
    if (!generation.idle()) {
      FTD_RETURN_IF_ERROR(Step(generation));
      last_use = Clock::now();
    }
    for (Client& client : clients_) Send(&client);
    RemoveEnded(generation);
  }
}

bool GenerationServer::Wait(int milliseconds) {
  std::vector<pollfd> fds = {{signals_.get(), POLLIN, 0}, {listener_.get(), POLLIN, 0}};
  for (const Client& client : clients_) {
    const int events = POLLIN | (client.out.empty() ? 0 : POLLOUT);
    fds.push_back({client.connection.get(), static_cast<int16_t>(events), 0});
  }
  if (::poll(fds.data(), fds.size(), milliseconds) <= 0) return false;
  if (fds[0].revents != 0) return true;
  if (fds[1].revents != 0) Accept();
  return false;
}

void GenerationServer::Accept() {
  Fd connection(::accept4(listener_.get(), nullptr, nullptr, SOCK_CLOEXEC | SOCK_NONBLOCK));
  if (!connection.valid()) return;
  clients_.emplace_back();
  clients_.back().connection = std::move(connection);
}

// Reads what has come. A client that closes its end has lost interest.
void GenerationServer::Read(Generation& generation, Client* client) {
  char buffer[65536];
  for (;;) {
    const ssize_t n = ::recv(client->connection.get(), buffer, sizeof buffer, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR)) break;
    if (n <= 0) {
      client->gone = true;
      return;
    }
    if (client->asked) continue;
    client->in.append(buffer, static_cast<size_t>(n));
    if (client->in.size() > kMostRequestBytes) break;
  }
  if (client->asked) return;
  if (client->in.find('\n') != std::string::npos) {
    Begin(generation, client);
  } else if (client->in.size() > kMostRequestBytes) {
    client->asked = client->finished = true;
    client->out += ErrorLine(absl::InvalidArgumentError("the request is longer than 16 MiB"));
  }
}

void GenerationServer::Begin(Generation& generation, Client* client) {
  client->asked = true;
  const auto answer = [&]() -> absl::StatusOr<int64_t> {
    FTD_ASSIGN_OR_RETURN(
        const AnswerRequest request,
        ParseAnswerRequest(client->in.substr(0, client->in.find('\n')), generation));
    client->prompt_tokens = static_cast<int64_t>(request.prompt.size());
    return generation.Ask(request);
  }();
  client->in.clear();
  if (answer.ok()) {
    client->answer = *answer;
  } else {
    client->out += ErrorLine(answer.status());
    client->finished = true;
  }
}

absl::Status GenerationServer::Step(Generation& generation) {
  const auto pieces = generation.Step();
  if (!pieces.ok()) {
    for (Client& client : clients_) {
      if (client.answer >= 0 && !client.finished) client.out += ErrorLine(pieces.status());
      Send(&client);
    }
    return pieces.status();
  }
  for (const AnswerPiece& piece : *pieces) {
    const auto client = std::find_if(clients_.begin(), clients_.end(),
                                     [&](const Client& one) { return one.answer == piece.answer; });
    ++client->new_tokens;
    client->out += Line({{"token", piece.token}, {"text", piece.text}});
    if (piece.finish_reason.empty()) continue;
    client->finished = true;
    client->out += Line({{"finish_reason", piece.finish_reason},
                         {"prompt_tokens", client->prompt_tokens},
                         {"new_tokens", client->new_tokens},
                         {"device", generation.device()}});
  }
  return absl::OkStatus();
}

// Sends what the connection takes. A reader that is slow delays nobody else.
void GenerationServer::Send(Client* client) {
  while (!client->out.empty() && !client->gone) {
    const ssize_t n = ::send(client->connection.get(), client->out.data(), client->out.size(),
                             MSG_NOSIGNAL | MSG_DONTWAIT);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0 && errno == EAGAIN) return;
    if (n < 0) {
      client->gone = true;
      return;
    }
    client->out.erase(0, static_cast<size_t>(n));
  }
}

void GenerationServer::RemoveEnded(Generation& generation) {
  for (const Client& client : clients_)
    if (client.gone && client.answer >= 0) generation.Drop(client.answer);
  std::erase_if(clients_, [](const Client& client) {
    return client.gone || (client.finished && client.out.empty());
  });
}

}  // namespace ftd

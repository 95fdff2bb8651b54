#include "server/net/tcp_listener.h"

#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/socket.h>

#include <algorithm>
#include <cerrno>
#include <system_error>
#include <utility>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

std::string HostOf(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

// Returns a connection's peer as gRPC spells it; "" when it has gone already. An IPv4 address that
// came to an IPv6 socket is IPv4.
std::string PeerOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  if (getpeername(fd, reinterpret_cast<sockaddr*>(&address), &size) != 0) return "";
  char host[NI_MAXHOST] = {}, port[NI_MAXSERV] = {};
  if (getnameinfo(reinterpret_cast<const sockaddr*>(&address), size, host, sizeof(host), port,
                  sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV) != 0) {
    return "";
  }
  if (address.ss_family == AF_INET) return absl::StrCat("ipv4:", host, ":", port);
  const auto& six = reinterpret_cast<const sockaddr_in6&>(address);
  constexpr size_t kMapped = sizeof("::ffff:") - 1;
  if (IN6_IS_ADDR_V4MAPPED(&six.sin6_addr)) return absl::StrCat("ipv4:", host + kMapped, ":", port);
  return absl::StrCat("ipv6:[", host, "]:", port);
}

absl::Status CannotListen(const HostPort& address, int error) {
  return Error(Reason::kAddressInUse,
               absl::StrCat("cannot listen on ", address.host, ":", address.port, ": ",
                            std::generic_category().message(error),
                            error == EADDRINUSE ? "; stop what uses it, or listen elsewhere" : ""));
}

struct AddressList {
  addrinfo* first = nullptr;
  ~AddressList() {
    if (first != nullptr) freeaddrinfo(first);
  }
};

// Binds one address; `port` is that of the addresses before it, if it was left open.
absl::StatusOr<Fd> BindOne(const addrinfo& found, const HostPort& address, int port) {
  Fd fd(socket(found.ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  if (!fd.valid()) return CannotListen(address, errno);
  const int on = 1, off = 0;
  setsockopt(fd.get(), SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
  sockaddr_storage bound{};
  std::copy_n(reinterpret_cast<const char*>(found.ai_addr), found.ai_addrlen,
              reinterpret_cast<char*>(&bound));
  if (found.ai_family == AF_INET6) {
    setsockopt(fd.get(), IPPROTO_IPV6, IPV6_V6ONLY, &off, sizeof(off));  // [::] is all of IPv4 too
    reinterpret_cast<sockaddr_in6&>(bound).sin6_port = htons(static_cast<uint16_t>(port));
  } else {
    reinterpret_cast<sockaddr_in&>(bound).sin_port = htons(static_cast<uint16_t>(port));
  }
  if (bind(fd.get(), reinterpret_cast<const sockaddr*>(&bound), found.ai_addrlen) != 0 ||
      listen(fd.get(), SOMAXCONN) != 0) {
    return CannotListen(address, errno);
  }
  return fd;
}

int PortOf(int fd) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  getsockname(fd, reinterpret_cast<sockaddr*>(&address), &size);
  return ntohs(address.ss_family == AF_INET6 ? reinterpret_cast<sockaddr_in6&>(address).sin6_port
                                             : reinterpret_cast<sockaddr_in&>(address).sin_port);
}

}  // namespace

TcpListener::TcpListener(std::unique_ptr<AcceptLoop> loop, int port, Connections& connections)
    : loop_(std::move(loop)), port_(port), connections_(connections) {}

absl::StatusOr<std::unique_ptr<TcpListener>> TcpListener::Bind(const HostPort& address,
                                                               Connections& connections) {
  addrinfo hints{};
  hints.ai_flags = AI_PASSIVE | AI_NUMERICSERV;
  hints.ai_socktype = SOCK_STREAM;
  AddressList found;
  const int error =
      getaddrinfo(address.host.c_str(), std::to_string(address.port).c_str(), &hints, &found.first);
  if (error != 0) {
    return Error(Reason::kAddressInUse, absl::StrCat("cannot listen on ", address.host, ":",
                                                     address.port, ": ", gai_strerror(error)));
  }
  std::vector<Fd> sockets;
  int port = address.port;
  absl::Status status;
  for (const addrinfo* one = found.first; one != nullptr; one = one->ai_next) {
    absl::StatusOr<Fd> fd = BindOne(*one, address, port);
    // "localhost" is ::1 as well, on a host without IPv6 too.
    if (!fd.ok()) status.Update(fd.status());
    if (!fd.ok()) continue;
    if (port == 0) port = PortOf(fd->get());
    sockets.push_back(*std::move(fd));
  }
  if (sockets.empty()) return status;
  FTD_ASSIGN_OR_RETURN(auto loop, AcceptLoop::Create(std::move(sockets), connections));
  return std::unique_ptr<TcpListener>(new TcpListener(std::move(loop), port, connections));
}

void TcpListener::Start(Handover handover) {
  loop_->Start([this, handover = std::move(handover)](int socket, Fd connection) {
    const std::string peer = PeerOf(connection.get());
    if (peer.empty() || connections_.overloaded()) return;
    const int on = 1;
    setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    connections_.Add(connection.get(), peer, HostOf(peer));
    handover(socket, std::move(connection));
  });
}

void TcpListener::Stop() { loop_.reset(); }

}  // namespace ftd

#include "server/net/tcp_listener.h"

#include <linux/tcp.h>  // tcp_info as the kernel has it; glibc's stops before the bytes
#include <malloc.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <limits>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "server/host/log.h"

namespace ftd {
namespace {

constexpr size_t kMostConnections = 1024;
// Calls that were reset count until they have been handled.
constexpr int64_t kMostCalls = int64_t{2} * kMostStreams;
// Bytes that belong to no call or message: of a connection, and of all. A message has 4 MiB at
// most, and what is on its way while the last one is handled is less than as much again.
constexpr uint64_t kMostBytes = 16 << 20, kMostBytesOfAll = 128 << 20;

// Returns the number that a socket has as long as it lives; 0: the descriptor is not a socket.
ino_t SocketInode(int fd) {
  struct stat found {};
  return fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

// What this process may use while TCP is served. Its own needs are a tenth of that.
constexpr size_t kMostMemory = size_t{512} << 20;

size_t ResidentBytes() {
  long pages = 0;
  if (std::FILE* statm = std::fopen("/proc/self/statm", "re"); statm != nullptr) {
    if (std::fscanf(statm, "%*d %ld", &pages) != 1) pages = 0;
    std::fclose(statm);
  }
  return static_cast<size_t>(pages) * static_cast<size_t>(sysconf(_SC_PAGESIZE));
}

// What malloc has freed may be resident for long, so it does not count.
bool UsesTooMuchMemory() {
  if (ResidentBytes() <= kMostMemory) return false;
  const struct mallinfo2 heap = mallinfo2();
  return heap.uordblks + heap.hblkhd > kMostMemory;
}

uint64_t BytesReceived(int fd) {
  tcp_info info{};
  socklen_t size = sizeof(info);
  if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) != 0) return 0;
  return info.tcpi_bytes_received;
}

std::string HostOf(const std::string& peer) { return peer.substr(0, peer.rfind(':')); }

// Returns a peer as gRPC spells it. An IPv4 address that came to an IPv6 socket is IPv4.
std::string PeerOf(const sockaddr_storage& address, socklen_t size) {
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

void TcpConnections::Add(int fd, const std::string& peer) {
  const absl::MutexLock lock(&mutex_);
  if (const auto known = open_.find(peer); known != open_.end()) Remove(known);
  const std::string host = HostOf(peer);
  if (const auto here = silent_.find(host);
      here != silent_.end() && here->second.size() >= limit_ / 4)
    Drop(LeastSent(here->second));
  if (open_.size() >= limit_) Drop(order_.begin()->second);
  const int64_t now = ++clock_;
  open_[peer] = {.fd = fd, .inode = SocketInode(fd), .host = host, .used = now};
  order_[{false, now}] = peer;
  silent_[host][now] = peer;
}

// A client at its handshake has sent more than a flood that only begins one. The newer half may not
// have had the time.
std::string TcpConnections::LeastSent(const Silent& silent) const {
  std::string least;
  uint64_t sent = std::numeric_limits<uint64_t>::max();
  size_t left = (silent.size() + 1) / 2;
  for (auto entry = silent.begin(); left > 0; ++entry, --left) {
    const uint64_t received = BytesReceived(open_.at(entry->second).fd);
    if (received >= sent) continue;
    sent = received;
    least = entry->second;
  }
  return least;
}

// gRPC escapes what an URI may not have: "ipv6:%5B::1%5D:4711".
TcpConnections::Open::iterator TcpConnections::Find(const std::string& escaped) {
  return open_.find(absl::StrReplaceAll(escaped, {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}}));
}

void TcpConnections::SawCall(const std::string& escaped) {
  const absl::MutexLock lock(&mutex_);
  const auto found = Find(escaped);
  if (found == open_.end()) return;
  const std::string peer = found->first;
  Connection connection = found->second;
  Remove(found);
  connection.called = true;
  connection.used = ++clock_;
  connection.moved = true;
  ++connection.calls;
  const bool too_many = connection.calls > kMostCalls;
  order_[{true, connection.used}] = peer;
  open_[peer] = std::move(connection);
  if (too_many) Drop(peer, "it resets calls faster than they can be handled");
}

void TcpConnections::SawMessage(const std::string& escaped) {
  const absl::MutexLock lock(&mutex_);
  if (const auto found = Find(escaped); found != open_.end()) found->second.moved = true;
}

// The call may be an earlier connection's, from the same port.
void TcpConnections::SawEnd(const std::string& escaped) {
  const absl::MutexLock lock(&mutex_);
  const auto found = Find(escaped);
  if (found != open_.end() && found->second.calls > 0) --found->second.calls;
}

void TcpConnections::Sweep() {
  const absl::MutexLock lock(&mutex_);
  const absl::Time now = absl::Now();
  if (now - swept_ < absl::Milliseconds(kSweepMs) / 2) return;  // another listener has just looked
  swept_ = now;
  const bool overloaded = UsesTooMuchMemory();
  if (overloaded != overloaded_) {
    LogWarning(overloaded
                   ? "calls by TCP use too much memory; no connection is accepted until they "
                     "have been handled"
                   : "TCP connections are accepted again");
  }
  overloaded_ = overloaded;
  std::vector<std::string> busy;
  std::vector<std::pair<uint64_t, std::string>> idle;  // bytes, peer
  uint64_t of_all = 0;
  for (auto entry = open_.begin(); entry != open_.end();) {
    const auto one = entry++;
    Connection& connection = one->second;
    if (SocketInode(connection.fd) != connection.inode) {
      Remove(one);
      continue;
    }
    const uint64_t received = BytesReceived(connection.fd);
    if (connection.moved) connection.counted = received;
    connection.moved = false;
    if (overloaded && received != connection.received) busy.push_back(one->first);
    connection.received = received;
    idle.emplace_back(received - std::min(received, connection.counted), one->first);
    of_all += idle.back().first;
  }
  for (const std::string& peer : busy) Drop(peer);
  if (overloaded) return;
  std::sort(idle.rbegin(), idle.rend());
  for (const auto& [bytes, peer] : idle) {
    if (bytes <= kMostBytes && of_all <= kMostBytesOfAll) break;
    Drop(peer, "too much came on it outside calls");
    of_all -= bytes;
  }
}

void TcpConnections::Remove(Open::iterator entry) {
  const Connection& connection = entry->second;
  order_.erase({connection.called, connection.used});
  if (const auto here = silent_.find(connection.host); here != silent_.end()) {
    here->second.erase(connection.used);
    if (here->second.empty()) silent_.erase(here);
  }
  open_.erase(entry);
}

// gRPC does not tell when it closes a descriptor. The inode tells: by then the descriptor is
// closed, or belongs to something else. One that is closed between the look and the shutdown may be
// another socket by then, which loses its connection; clients connect again.
void TcpConnections::Drop(const std::string& peer, const char* reason) {
  const auto entry = open_.find(peer);
  const int fd = entry->second.fd;
  if (SocketInode(fd) == entry->second.inode) shutdown(fd, SHUT_RDWR);
  // A flood makes one line a second.
  if (reason != nullptr && absl::Now() - logged_ > absl::Seconds(1)) {
    logged_ = absl::Now();
    LogWarning("closed the connection of ", peer, ": ", reason);
  }
  Remove(entry);
}

size_t MostTcpConnections() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMostConnections;
  return std::clamp<size_t>(limit.rlim_cur / 2, 4, kMostConnections);
}

TcpListener::TcpListener(std::vector<Fd> sockets, int port, Fd wake, TcpConnections& connections)
    : sockets_(std::move(sockets)),
      port_(port),
      wake_(std::move(wake)),
      connections_(connections) {}

absl::StatusOr<std::unique_ptr<TcpListener>> TcpListener::Bind(const HostPort& address,
                                                               TcpConnections& connections) {
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
  Fd wake(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
  if (!wake.valid()) return ErrnoError(errno, "eventfd");
  return std::unique_ptr<TcpListener>(
      new TcpListener(std::move(sockets), port, std::move(wake), connections));
}

TcpListener::~TcpListener() { Stop(); }

void TcpListener::Start(Handover handover) {
  thread_ = std::thread([this, handover = std::move(handover)] { AcceptLoop(handover); });
}

void TcpListener::Stop() {
  if (sockets_.empty()) return;
  eventfd_write(wake_.get(), 1);
  if (thread_.joinable()) thread_.join();
  sockets_.clear();
}

void TcpListener::AcceptLoop(const Handover& handover) {
  std::vector<pollfd> polled = {{.fd = wake_.get(), .events = POLLIN}};
  for (const Fd& socket : sockets_) polled.push_back({.fd = socket.get(), .events = POLLIN});
  while (true) {
    const int wait_ms = connections_.empty() ? -1 : kSweepMs;
    if (poll(polled.data(), polled.size(), wait_ms) < 0 && errno != EINTR) return;
    if (polled[0].revents != 0) return;
    connections_.Sweep();
    for (size_t i = 1; i < polled.size(); ++i)
      if (polled[i].revents != 0) AcceptOne(polled[i].fd, handover);
  }
}

void TcpListener::AcceptOne(int socket, const Handover& handover) {
  sockaddr_storage address{};
  socklen_t size = sizeof(address);
  Fd connection(
      accept4(socket, reinterpret_cast<sockaddr*>(&address), &size, SOCK_CLOEXEC | SOCK_NONBLOCK));
  // Other errors concern this connection only, which has gone already.
  if (!connection.valid()) {
    if (errno != EMFILE && errno != ENFILE && errno != ENOMEM && errno != ENOBUFS) return;
    LogError("cannot accept a TCP connection: ", std::generic_category().message(errno));
    pollfd wake{.fd = wake_.get(), .events = POLLIN};
    poll(&wake, 1, 100);  // the connection stays in the backlog: give others time to close theirs
    return;
  }
  if (connections_.overloaded()) return;
  const int on = 1;
  setsockopt(connection.get(), IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
  connections_.Add(connection.get(), PeerOf(address, size));
  handover(socket, std::move(connection));
}

}  // namespace ftd

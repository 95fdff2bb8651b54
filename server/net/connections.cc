#include "server/net/connections.h"

#include <linux/tcp.h>  // tcp_info as the kernel has it; glibc's stops before the bytes
#include <malloc.h>
#include <netinet/in.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <iterator>
#include <limits>
#include <utility>
#include <vector>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"
#include "server/host/log.h"

namespace ftd {
namespace {

constexpr size_t kMostConnections = 4096;
// Calls that were reset count until they have been handled.
constexpr int64_t kMostCalls = int64_t{2} * kMostStreams;
// Bytes that belong to no call or message: of a connection, and of all. A message has 4 MiB at
// most, and what is on its way while the last one is handled is less than as much again.
constexpr uint64_t kMostConnectionBytes = 16 << 20, kMostBytesOfAllConnections = 128 << 20;

// Returns the number that a socket has as long as it lives; 0: the descriptor is not a socket.
ino_t SocketInode(int fd) {
  struct stat found {};
  return fstat(fd, &found) == 0 && S_ISSOCK(found.st_mode) ? found.st_ino : 0;
}

// What this process may use while clients are connected. Its own needs are a tenth of that.
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

int BytesWaiting(int fd) {
  int count = 0;
  return ioctl(fd, FIONREAD, &count) == 0 ? count : 0;
}

}  // namespace

void Connections::Add(int fd, const std::string& peer, const std::string& host) {
  const absl::MutexLock lock(&mutex_);
  if (const auto known = open_.find(peer); known != open_.end()) Remove(known);
  MakeRoom(host);
  Insert(peer, {.fd = fd,
                .inode = SocketInode(fd),
                .host = host,
                .counted_by_kernel = !absl::StartsWith(peer, "fd:"),
                .used = ++clock_});
}

void Connections::MakeRoom(const std::string& host) {
  const auto silent_end = [](const Order& order) { return order.lower_bound({true, 0}); };
  if (const auto here = by_host_.find(host); here != by_host_.end()) {
    const Order& order = here->second;
    const auto silent = static_cast<size_t>(std::distance(order.begin(), silent_end(order)));
    if (silent >= limit_ / 4) Drop(LeastSent(order, silent));
  }
  if (open_.size() < limit_) return;
  if (silent_end(order_) != order_.begin()) return Drop(order_.begin()->second);
  const auto most = std::max_element(
      by_host_.begin(), by_host_.end(),
      [](const auto& a, const auto& b) { return a.second.size() < b.second.size(); });
  Drop(most->second.begin()->second);
}

// A client at its handshake has sent more than a flood that only begins one. The newer half may not
// have had the time.
std::string Connections::LeastSent(const Order& here, size_t silent) const {
  std::string least;
  uint64_t sent = std::numeric_limits<uint64_t>::max();
  size_t left = (silent + 1) / 2;
  for (auto entry = here.begin(); left > 0; ++entry, --left) {
    const uint64_t received = BytesReceived(open_.at(entry->second).fd);
    if (received >= sent) continue;
    sent = received;
    least = entry->second;
  }
  return least;
}

void Connections::Insert(const std::string& peer, Connection connection) {
  const std::pair<bool, int64_t> place{connection.called, connection.used};
  order_[place] = peer;
  by_host_[connection.host][place] = peer;
  open_[peer] = std::move(connection);
}

// gRPC escapes what an URI may not have: "ipv6:%5B::1%5D:4711".
Connections::Open::iterator Connections::Find(const std::string& escaped) {
  return open_.find(absl::StrReplaceAll(escaped, {{"%5B", "["}, {"%5D", "]"}, {"%25", "%"}}));
}

void Connections::SawCall(const std::string& escaped) {
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
  Insert(peer, std::move(connection));
  if (too_many) Drop(peer, "it resets calls faster than they can be handled");
}

void Connections::SawMessage(const std::string& escaped) {
  const absl::MutexLock lock(&mutex_);
  if (const auto found = Find(escaped); found != open_.end()) found->second.moved = true;
}

// The call may be an earlier connection's, from the same port.
void Connections::SawEnd(const std::string& escaped, bool was_reset) {
  const absl::MutexLock lock(&mutex_);
  const auto found = Find(escaped);
  if (found == open_.end()) return;
  Connection& connection = found->second;
  if (connection.calls > 0) --connection.calls;
  if (was_reset && ResetsTooMuch(connection)) Drop(found->first, "it resets calls all the time");
}

bool Connections::ResetsTooMuch(Connection& connection) {
  const Moment now = SteadyNow();
  const double forgiven =
      absl::ToDoubleSeconds(std::min(now - connection.last_reset, absl::Hours(1))) * kResetsASecond;
  connection.resets = std::max(connection.resets - forgiven, 0.0) + 1;
  connection.last_reset = now;
  return connection.resets > kResetBurst;
}

void Connections::Sweep() {
  const absl::MutexLock lock(&mutex_);
  const Moment now = SteadyNow();
  // Another loop has just looked.
  if (now - swept_ < absl::Milliseconds(kSweepMs) / 2) return;
  swept_ = now;
  for (auto entry = open_.begin(); entry != open_.end();) {
    const auto one = entry++;
    if (SocketInode(one->second.fd) != one->second.inode) Remove(one);
  }
  const bool overloaded = UsesTooMuchMemory();
  if (overloaded != overloaded_) {
    LogWarning(overloaded ? "calls use too much memory; no TCP connection is accepted until they "
                            "have been handled"
                          : "TCP connections are accepted again");
  }
  overloaded ? DropBusy() : DropTalkers();
  overloaded_ = overloaded;
}

// On TCP all on which something came. A call that was queued by TCP may need a moment after its
// connection has gone; only then a unix connection may be the cause: one whose header never ends,
// on which more waits whenever one looks than the call of a client that has to wait. Where the
// looks missed that for long, it is one without a call.
void Connections::DropBusy() {
  constexpr absl::Duration kAfterTcp = absl::Seconds(2), kAfterAll = absl::Seconds(10);
  constexpr int kMostOfACall = 16 << 10;  // bytes
  std::vector<std::string> busy, talking, silent;
  for (auto& [peer, connection] : open_) {
    const uint64_t received = BytesReceived(connection.fd);
    if (received != connection.received) busy.push_back(peer);
    const bool talks = !connection.moved && BytesWaiting(connection.fd) > kMostOfACall;
    if (!connection.counted_by_kernel && talks) {
      talking.push_back(peer);
    } else if (!connection.counted_by_kernel && connection.calls == 0) {
      silent.push_back(peer);
    }
    if (connection.moved) connection.counted = received;
    connection.moved = false;
    connection.received = received;
  }
  const auto drop = [this](const std::vector<std::string>& peers) {
    for (const std::string& peer : peers) Drop(peer);
  };
  const Moment now = SteadyNow();
  if (!busy.empty()) spare_unix_until_ = now + kAfterTcp;
  if (!busy.empty() || !talking.empty() || !overloaded_) spare_silent_until_ = now + kAfterAll;
  drop(busy);
  if (now < spare_unix_until_) return;
  drop(talking);
  if (now >= spare_silent_until_) drop(silent);
}

// Those on which too much came outside calls and messages, the worst first.
void Connections::DropTalkers() {
  std::vector<std::pair<uint64_t, std::string>> idle;  // bytes, peer
  uint64_t of_all = 0;
  for (auto& [peer, connection] : open_) {
    const uint64_t received = BytesReceived(connection.fd);
    if (connection.moved) connection.counted = received;
    connection.moved = false;
    connection.received = received;
    idle.emplace_back(received - std::min(received, connection.counted), peer);
    of_all += idle.back().first;
  }
  std::sort(idle.rbegin(), idle.rend());
  for (const auto& [bytes, peer] : idle) {
    if (bytes <= kMostConnectionBytes && of_all <= kMostBytesOfAllConnections) break;
    Drop(peer, "too much came on it outside calls");
    of_all -= bytes;
  }
}

void Connections::CloseAll() {
  const absl::MutexLock lock(&mutex_);
  while (!open_.empty()) Drop(std::string(open_.begin()->first));
}

void Connections::Remove(Open::iterator entry) {
  const std::pair<bool, int64_t> place{entry->second.called, entry->second.used};
  order_.erase(place);
  const auto here = by_host_.find(entry->second.host);
  here->second.erase(place);
  if (here->second.empty()) by_host_.erase(here);
  open_.erase(entry);
}

// gRPC does not tell when it closes a descriptor. The inode tells: by then the descriptor is
// closed, or belongs to something else. One that is closed between the look and the shutdown may be
// another socket by then, which loses its connection; clients connect again.
void Connections::Drop(std::string peer, const char* reason) {
  const auto entry = open_.find(peer);
  const int fd = entry->second.fd;
  if (SocketInode(fd) == entry->second.inode) shutdown(fd, SHUT_RDWR);
  // A flood makes one line a second.
  if (reason != nullptr && SteadyNow() - logged_ > absl::Seconds(1)) {
    logged_ = SteadyNow();
    LogWarning("closed the connection of ", peer, ": ", reason);
  }
  Remove(entry);
}

size_t MostConnections() {
  rlimit limit{};
  if (getrlimit(RLIMIT_NOFILE, &limit) != 0) return kMostConnections;
  return std::clamp<size_t>(limit.rlim_cur / 2, 4, kMostConnections);
}

}  // namespace ftd

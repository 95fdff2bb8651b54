// The connections that clients have open, of unix sockets and of TCP.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <map>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/synchronization/mutex.h"
#include "lib/base/steady_clock.h"

namespace ftd {

// The connections that are open, as far as one can know of descriptors that gRPC closes. When there
// are too many, the one goes that was idle longest: one on which no call has come yet, so that a
// flood of them drives out itself and no client at work, else one of the host that has most. A host
// with too many silent ones loses the one that has sent least, of the older half: a flood, not a
// client at its handshake. The host of a unix connection is its user.
//
// gRPC 1.51 keeps what an endless header brings, and queues calls that are reset at once without
// limit (CVE-2023-33953, CVE-2023-44487). So a connection also goes when too much comes on
// it outside calls and messages, when more calls of it are open than HTTP/2 streams may be, and
// when it resets more calls than kResetBurst and kResetsASecond allow. Calls may queue where nobody
// sees them yet, so all that is busy goes while this process uses far more memory than it needs,
// and TCP lets nobody in. The kernel does not count what comes by a unix socket: there, one is
// dropped on which more than a call waits and no message, and only once nobody is busy on TCP;
// where none is found for long, all that have no call. Thread-safe.
class Connections {
 public:
  // At most `limit`, and at most a quarter of them of one host without a call.
  explicit Connections(size_t limit) : limit_(limit) {}

  // Makes room, then takes note of a connection with `peer`, as gRPC names it:
  // "ipv4:127.0.0.1:4711", "ipv6:[::1]:4711", "fd:17". Call before gRPC gets it.
  void Add(int fd, const std::string& peer, const std::string& host);
  // A call of a peer that may call came in, had a message from it, and ended, perhaps because the
  // peer reset it. The peer is as gRPC spells it.
  void SawCall(const std::string& escaped);
  void SawMessage(const std::string& escaped);
  void SawEnd(const std::string& escaped, bool was_reset);
  bool empty() {
    const absl::MutexLock lock(&mutex_);
    return open_.empty();
  }
  // Looks at what came on the connections. Call every kSweepMs while there are any, and before Add.
  void Sweep();
  // Whether memory was short at the last sweep.
  bool overloaded() const { return overloaded_; }
  // Breaks off all connections. gRPC closes one only when its last write is done, which a client
  // that does not read delays forever. Call once no more are added.
  void CloseAll();

 private:
  struct Connection {
    int fd = -1;
    ino_t inode = 0;
    std::string host;
    bool counted_by_kernel = false;  // TCP
    bool called = false;
    int64_t used = 0;   // greater: later
    int64_t calls = 0;  // open
    double resets = 0;  // less those that time has forgiven, at the last one
    Moment last_reset = -kNever;
    bool moved = true;      // a call or message came since the last sweep
    uint64_t counted = 0;   // bytes received by the last sweep after that
    uint64_t received = 0;  // by the last sweep
  };
  using Open = std::map<std::string, Connection>;                 // by peer
  using Order = std::map<std::pair<bool, int64_t>, std::string>;  // peers by (called, used)

  // Drops connections of a host that has too many, or of all.
  void MakeRoom(const std::string& host) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // The peer to drop of a host with `silent` connections that never called, its first ones.
  std::string LeastSent(const Order& here, size_t silent) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  Open::iterator Find(const std::string& escaped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // Counts a reset. Returns whether the connection has had too many.
  static bool ResetsTooMuch(Connection& connection);
  // Files a connection under its new place in the orders.
  void Insert(const std::string& peer, Connection connection) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // With a `reason` it is logged.
  void Drop(std::string peer, const char* reason = nullptr) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove(Open::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // What Sweep does while memory is short, and else.
  void DropBusy() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void DropTalkers() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t limit_;
  absl::Mutex mutex_;
  Open open_ ABSL_GUARDED_BY(mutex_);
  Order order_ ABSL_GUARDED_BY(mutex_);                           // all of open_
  std::map<std::string, Order> by_host_ ABSL_GUARDED_BY(mutex_);  // the same
  int64_t clock_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> overloaded_ = false;
  Moment swept_ ABSL_GUARDED_BY(mutex_) = -kNever, logged_ ABSL_GUARDED_BY(mutex_) = -kNever;
  // While memory is short: connections of unix sockets, and those without a call, are kept.
  Moment spare_unix_until_ ABSL_GUARDED_BY(mutex_) = -kNever;
  Moment spare_silent_until_ ABSL_GUARDED_BY(mutex_) = -kNever;
};

inline constexpr int kSweepMs = 250;
// HTTP/2 streams of a connection: more than watchers of all (WatchHub), so that one too many of
// them gets an answer and does not wait for a stream.
inline constexpr int kMostStreams = 2048;
// Calls that a connection may reset at once, and for long. A client that ends its watches resets
// each, so all of them are allowed at once.
inline constexpr int kResetBurst = 2048, kResetsASecond = 200;

// How many connections a process with this many descriptors may have: half of them, at most 4096.
size_t MostConnections();

}  // namespace ftd

// TCP sockets that the daemon accepts on itself: gRPC 1.51 stops listening for good once it has run
// out of descriptors (CVE-2023-4785), and bounds neither how many connections there are nor how
// long one takes. gRPC gets the connected descriptors, and does TLS on them.
#pragma once

#include <sys/types.h>

#include <atomic>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "lib/base/file.h"
#include "server/host/listen_address.h"

namespace ftd {

// The connections that are open, as far as one can know of descriptors that gRPC closes. The one
// that was idle longest goes when there are too many: those on which no call has come yet first, so
// that a flood of them drives out itself and no client at work. A host that has too many of these
// loses the one that has sent least, of the older half: a flood, not a client at its handshake.
//
// gRPC 1.51 keeps what an endless header brings, and queues calls that are reset at once without
// limit (CVE-2023-33953, CVE-2023-44487). So a connection also goes when too much comes on
// it outside calls and messages, and when more calls of it are open than HTTP/2 streams may be.
// Calls may queue where nobody sees them yet, so all that is busy goes while this process uses far
// more memory than it needs, and nobody is let in. Thread-safe.
class TcpConnections {
 public:
  // At most `limit`, and at most a quarter of them of one host without a call.
  explicit TcpConnections(size_t limit) : limit_(limit) {}

  // Makes room, then takes note of a connection with `peer`: "ipv4:127.0.0.1:4711",
  // "ipv6:[::1]:4711". Call before gRPC gets it.
  void Add(int fd, const std::string& peer);
  // A call of a peer that may call came in, had a message from it, and ended. The peer is as gRPC
  // spells it.
  void SawCall(const std::string& escaped);
  void SawMessage(const std::string& escaped);
  void SawEnd(const std::string& escaped);
  bool empty() {
    const absl::MutexLock lock(&mutex_);
    return open_.empty();
  }
  // Looks at what came on the connections. Call every kSweepMs while there are any, and before Add.
  void Sweep();
  // Whether memory was short at the last sweep.
  bool overloaded() const { return overloaded_; }

 private:
  struct Connection {
    int fd = -1;
    ino_t inode = 0;
    std::string host;
    bool called = false;
    int64_t used = 0;       // greater: later
    int64_t calls = 0;      // open
    bool moved = true;      // a call or message came since the last sweep
    uint64_t counted = 0;   // bytes received by the last sweep after that
    uint64_t received = 0;  // by the last sweep
  };
  using Open = std::map<std::string, Connection>;  // by peer
  using Silent = std::map<int64_t, std::string>;   // peers that never called, by `used`
  using Order = std::map<std::pair<bool, int64_t>, std::string>;  // peers by (called, used)

  // The peer to drop of a host that has too many silent connections.
  std::string LeastSent(const Silent& silent) const ABSL_SHARED_LOCKS_REQUIRED(mutex_);
  Open::iterator Find(const std::string& escaped) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  // With a `reason` it is logged.
  void Drop(const std::string& peer, const char* reason = nullptr)
      ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);
  void Remove(Open::iterator entry) ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_);

  const size_t limit_;
  absl::Mutex mutex_;
  Open open_ ABSL_GUARDED_BY(mutex_);
  Order order_ ABSL_GUARDED_BY(mutex_);                           // all of open_
  std::map<std::string, Silent> silent_ ABSL_GUARDED_BY(mutex_);  // by host
  int64_t clock_ ABSL_GUARDED_BY(mutex_) = 0;
  std::atomic<bool> overloaded_ = false;
  absl::Time swept_ ABSL_GUARDED_BY(mutex_), logged_ ABSL_GUARDED_BY(mutex_);
};

inline constexpr int kSweepMs = 250;
// HTTP/2 streams of a connection: more than watchers of all (WatchHub), so that one too many of
// them gets an answer and does not wait for a stream.
inline constexpr int kMostStreams = 2048;

// How many connections a process with this many descriptors may have: half of them, at most 1024.
size_t MostTcpConnections();

class TcpListener {
 public:
  // Takes a connected, non-blocking descriptor over. Called on the listener's thread.
  using Handover = std::function<void(int listener, Fd connection)>;

  // Binds all addresses of the host; port 0 is any free one, the same for all. `connections` must
  // outlive it. FAILED_PRECONDITION ADDRESS_IN_USE: naming the address, when it cannot be bound.
  static absl::StatusOr<std::unique_ptr<TcpListener>> Bind(const HostPort& address,
                                                           TcpConnections& connections);
  ~TcpListener();

  int port() const { return port_; }
  void Start(Handover handover);
  // No new connections; those handed over live on. Idempotent.
  void Stop();

 private:
  TcpListener(std::vector<Fd> sockets, int port, Fd wake, TcpConnections& connections);
  void AcceptLoop(const Handover& handover);
  void AcceptOne(int socket, const Handover& handover);

  std::vector<Fd> sockets_;
  const int port_;
  Fd wake_;  // eventfd: readable once Stop was called
  TcpConnections& connections_;
  std::thread thread_;
};

}  // namespace ftd

// TCP sockets that the daemon accepts on itself: gRPC 1.51 stops listening for good once it has run
// out of descriptors (CVE-2023-4785), and bounds neither how many connections there are nor how
// long one takes. gRPC gets the connected descriptors, and does TLS on them.
#pragma once

#include <functional>
#include <memory>

#include "absl/status/statusor.h"
#include "lib/base/file.h"
#include "server/host/listen_address.h"
#include "server/net/accept_loop.h"
#include "server/net/connections.h"

namespace ftd {

class TcpListener {
 public:
  // Takes a connected, non-blocking descriptor over. Called on the listener's thread.
  using Handover = std::function<void(int listener, Fd connection)>;

  // Binds all addresses of the host; port 0 is any free one, the same for all. `connections` must
  // outlive it. FAILED_PRECONDITION ADDRESS_IN_USE: naming the address, when it cannot be bound.
  static absl::StatusOr<std::unique_ptr<TcpListener>> Bind(const HostPort& address,
                                                           Connections& connections);

  int port() const { return port_; }
  // Requires: Stop was not called.
  void Start(Handover handover);
  // No new connections; those handed over live on. Idempotent.
  void Stop();

 private:
  TcpListener(std::unique_ptr<AcceptLoop> loop, int port, Connections& connections);

  std::unique_ptr<AcceptLoop> loop_;  // null: stopped
  const int port_;
  Connections& connections_;
};

}  // namespace ftd

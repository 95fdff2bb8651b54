// Accepts connections on listening sockets, on a thread of its own.
#pragma once

#include <functional>
#include <memory>
#include <thread>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/base/file.h"
#include "server/net/connections.h"
#include "server/net/greetings.h"

namespace ftd {

class AcceptLoop {
 public:
  // Takes over a connected, non-blocking descriptor that came to `socket`. Called on the loop's
  // thread.
  using Handler = std::function<void(int socket, Fd connection)>;

  // Requires: the sockets listen and do not block. `connections`, which it sweeps, must outlive it.
  static absl::StatusOr<std::unique_ptr<AcceptLoop>> Create(std::vector<Fd> sockets,
                                                            Connections& connections);
  // Stops, and closes the sockets.
  ~AcceptLoop();

  // With `greetings`, whose connections the handler adds, it waits for them beside its own work;
  // they must outlive the loop.
  void Start(Handler handler, Greetings* greetings = nullptr);
  // Accepts no more; the sockets stay open. Idempotent.
  void Stop();

 private:
  AcceptLoop(std::vector<Fd> sockets, Fd wake, Connections& connections);
  void Run(const Handler& handler, Greetings* greetings);
  void AcceptOne(int socket, const Handler& handler);

  const std::vector<Fd> sockets_;
  const Fd wake_;  // eventfd: readable once Stop was called
  Connections& connections_;
  std::thread thread_;
};

}  // namespace ftd

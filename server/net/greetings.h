// Accepted connections whose client has yet to send HTTP/2's greeting, which gRPC waits for without
// a limit on descriptors that it is handed.
#pragma once

#include <poll.h>

#include <functional>
#include <utility>
#include <vector>

#include "absl/time/time.h"
#include "lib/base/file.h"
#include "lib/base/steady_clock.h"

namespace ftd {

// Used by one thread.
class Greetings {
 public:
  // Takes over a connection on which the greeting has come and waits to be read.
  using Handover = std::function<void(Fd connection)>;

  // A connection is closed when its greeting has not come after `patience`, or is far longer than
  // any client's.
  Greetings(absl::Duration patience, Handover handover)
      : patience_(patience), handover_(std::move(handover)) {}

  // Requires: the connection does not block.
  void Add(Fd connection);
  // Appends the connections to wait for to what poll looks at.
  void AddTo(std::vector<pollfd>& polled) const;
  // Hands over those whose greeting has come, and closes those that have ended or are late. Call
  // when poll says that something came, and now and then.
  void Look();

 private:
  struct Connection {
    Fd fd;
    Moment due;
    bool begun = false;  // part of the greeting has come
  };

  // Hands the connection over, closes it, or keeps it waiting.
  void Wait(Connection one);

  const absl::Duration patience_;
  const Handover handover_;
  std::vector<Connection> waiting_;
};

}  // namespace ftd

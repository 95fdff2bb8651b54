// A unix socket that the daemon accepts on itself, so that SO_PEERCRED shows who is there: gRPC
// gets the connected descriptors only, and its peer() is then "fd:N".
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "absl/time/time.h"
#include "lib/base/file.h"
#include "server/net/accept_loop.h"
#include "server/net/connections.h"
#include "server/net/greetings.h"

namespace ftd {

class UnixListener {
 public:
  // Takes a connected, non-blocking descriptor over, on which HTTP/2's greeting has come. Called on
  // the listener's thread.
  using Handover = Greetings::Handover;

  // Binds `path` with mode 0660, creating its directory if need be. A socket file that nobody
  // answers on is replaced; FAILED_PRECONDITION ADDRESS_IN_USE when somebody does,
  // PATH_NOT_WRITABLE when the path cannot be bound.
  // `connections` must outlive it.
  static absl::StatusOr<std::unique_ptr<UnixListener>> Bind(const std::filesystem::path& path,
                                                            Connections& connections);
  // Serves a socket that somebody else has bound and listens on: its file is theirs. Requires: it
  // does not block.
  static absl::StatusOr<std::unique_ptr<UnixListener>> Adopt(Fd socket, Connections& connections);
  // Stops, and removes the socket file.
  ~UnixListener();

  // Requires: Stop was not called. A client has `patience` for its greeting.
  void Start(absl::Duration patience, Handover handover);
  // No new connections; those handed over live on. Idempotent.
  void Stop();

  // Returns the user of gRPC's peer "fd:N". Thread-safe. none: not one of ours.
  std::optional<uid_t> UserOf(const std::string& peer) const;

 private:
  UnixListener(std::filesystem::path path, std::unique_ptr<AcceptLoop> loop,
               Connections& connections);
  static absl::StatusOr<std::unique_ptr<UnixListener>> Make(std::filesystem::path path, Fd socket,
                                                            Connections& connections);

  const std::filesystem::path path_;      // empty: the file is not ours
  std::unique_ptr<Greetings> greetings_;  // before the loop, which looks at them
  std::unique_ptr<AcceptLoop> loop_;      // null: stopped
  Connections& connections_;
  mutable absl::Mutex mutex_;
  // By descriptor. A number is used again only after its connection closed, and then written again
  // before gRPC sees it.
  std::map<int, uid_t> users_ ABSL_GUARDED_BY(mutex_);
};

}  // namespace ftd

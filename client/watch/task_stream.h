// Streams of long work that end with its outcome: a fetch, a look at rows.
#pragma once

#include <grpcpp/grpcpp.h>

#include <iostream>

#include "absl/status/statusor.h"
#include "client/rpc/connection.h"
#include "client/text/progress_text.h"
#include "client/watch/terminal.h"

namespace ftd {

// Shows a stream's progress on stderr, on a terminal, and returns its last message, which has the
// outcome.
template <typename Message>
absl::StatusOr<Message> LastOf(Connection& connection, grpc::ClientReader<Message>& reader) {
  const bool live = StderrIsTerminal();
  Message message, last;
  bool shown = false;
  while (reader.Read(&message)) {
    last = message;
    if (!live || message.progress().total() <= 0) continue;
    // Over the line before, then clear to its end.
    std::cerr << "\r\033[K" << ProgressText(message.progress()) << std::flush;
    shown = true;
  }
  if (shown) std::cerr << "\r\033[K" << std::flush;
  const grpc::Status status = reader.Finish();
  if (!status.ok()) return connection.ToStatus(status);
  return last;
}

}  // namespace ftd

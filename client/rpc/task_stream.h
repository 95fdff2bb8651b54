// Streams of long work that end with its outcome: a fetch, a look at rows.
#pragma once

#include <grpcpp/grpcpp.h>

#include <iostream>

#include "absl/status/statusor.h"
#include "client/rpc/connection.h"
#include "client/text/progress_text.h"

namespace ftd {

// Returns a stream's last message, which has the outcome. `live`: stderr is a terminal, on which
// the progress is shown.
template <typename Message>
absl::StatusOr<Message> LastOf(Connection& connection, grpc::ClientReader<Message>& reader,
                               bool live) {
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

#include "client/rpc/queue_follower.h"

namespace ftd {
namespace {

using ftd::v1::WatchQueueRequest;
using ftd::v1::WatchQueueResponse;

constexpr size_t kMostSnapshots = 8;  // each is a whole snapshot

StreamCalls<WatchQueueResponse> CallsFor(Connection& connection, const WatchQueueRequest& request) {
  return {.open =
              [&connection, request](grpc::ClientContext* context) {
                return connection.stub().WatchQueue(context, request);
              },
          .note = [](const WatchQueueResponse&) { return false; }};
}

}  // namespace

QueueFollower::QueueFollower(Connection& connection, const WatchQueueRequest& request)
    : StreamFollower(connection, CallsFor(connection, request), kMostSnapshots) {}

}  // namespace ftd

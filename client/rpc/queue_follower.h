// Follows the queue and the device over any number of broken streams.
#pragma once

#include "client/rpc/stream_follower.h"

namespace ftd {

using QueueItem = StreamItem<ftd::v1::WatchQueueResponse>;

// Calls WatchQueue, and calls it again whenever the stream ends.
class QueueFollower : public StreamFollower<ftd::v1::WatchQueueResponse> {
 public:
  // `connection` must outlive this.
  QueueFollower(Connection& connection, const ftd::v1::WatchQueueRequest& request);
};

}  // namespace ftd

// Follows one job's events over any number of broken streams.
#pragma once

#include <string>

#include "client/rpc/stream_follower.h"

namespace ftd {

using FollowItem = StreamItem<ftd::v1::WatchJobResponse>;

// Calls WatchJob, and calls again with the last resume_token whenever the stream ends before the
// job did.
class JobFollower : public StreamFollower<ftd::v1::WatchJobResponse> {
 public:
  // `connection` must outlive this.
  JobFollower(Connection& connection, const std::string& job);
};

}  // namespace ftd

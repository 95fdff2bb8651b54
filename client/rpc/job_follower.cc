#include "client/rpc/job_follower.h"

#include <memory>

#include "client/base/exit_codes.h"

namespace ftd {
namespace {

using ftd::v1::WatchJobRequest;
using ftd::v1::WatchJobResponse;

// A reader that does nothing else keeps up; this bounds memory if the terminal blocks.
constexpr size_t kMostEvents = 1 << 16;

bool BringsFinalState(const WatchJobResponse& event) {
  return IsFinal(event.has_snapshot() ? event.snapshot().state() : event.state_change().to());
}

StreamCalls<WatchJobResponse> CallsFor(Connection& connection, const std::string& job) {
  const auto request = std::make_shared<WatchJobRequest>();
  request->set_job(job);
  return {.open =
              [&connection, request](grpc::ClientContext* context) {
                return connection.stub().WatchJob(context, *request);
              },
          .note =
              [request](const WatchJobResponse& event) {
                if (!event.resume_token().empty()) {
                  request->set_resume_token(event.resume_token());
                }
                return BringsFinalState(event);
              }};
}

}  // namespace

JobFollower::JobFollower(Connection& connection, const std::string& job)
    : StreamFollower(connection, CallsFor(connection, job), kMostEvents) {}

}  // namespace ftd

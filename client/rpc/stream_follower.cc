#include "client/rpc/stream_follower.h"

#include "lib/base/error.h"

namespace ftd {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

constexpr auto kFirstPause = milliseconds(50);
constexpr auto kLongestPause = milliseconds(2000);
constexpr auto kGiveUpAfter = std::chrono::minutes(5);

// Whether the same call may end otherwise next time. An answer with a reason came from ftd itself
// and stands, except "not now"; without one it came from a transport that broke.
bool MayRecover(const grpc::Status& status) {
  switch (status.error_code()) {
    case grpc::StatusCode::UNAVAILABLE:
      return true;
    case grpc::StatusCode::OK:
    case grpc::StatusCode::CANCELLED:
    case grpc::StatusCode::UNKNOWN:
    case grpc::StatusCode::INTERNAL:
    case grpc::StatusCode::ABORTED:
    case grpc::StatusCode::DEADLINE_EXCEEDED:
    case grpc::StatusCode::DATA_LOSS:
      return ReasonNameOf(StatusFromRpc(status)).empty();
    default:
      return false;
  }
}

}  // namespace

bool StreamRetries::NoteMessage() {
  last_message_ = steady_clock::now();
  pause_ = milliseconds(0);
  return std::exchange(lost_, false);
}

absl::Status StreamRetries::Why(const grpc::Status& ended) const {
  if (ended.ok()) return absl::UnavailableError("ftd ended the stream too early");
  return connection_.ToStatus(ended);
}

absl::Status StreamRetries::Judge(const grpc::Status& ended) const {
  if (!MayRecover(ended)) return Why(ended);
  if (steady_clock::now() - last_message_ <= kGiveUpAfter) return absl::OkStatus();
  return Prefixed(Why(ended), "no contact for five minutes: ");
}

milliseconds StreamRetries::NextPause(const grpc::Status& ended) {
  pause_ = pause_ == milliseconds(0) ? kFirstPause : std::min(pause_ * 2, kLongestPause);
  return std::max(pause_, RetryDelay(ended).value_or(pause_));
}

}  // namespace ftd

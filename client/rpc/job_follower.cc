#include "client/rpc/job_follower.h"

#include <grpcpp/grpcpp.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <algorithm>
#include <utility>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/rpc/rpc_status.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

using std::chrono::milliseconds;
using std::chrono::steady_clock;

// The pause after a broken stream; it doubles up to kLongestPause while nothing comes.
constexpr auto kFirstPause = milliseconds(50);
constexpr auto kLongestPause = milliseconds(2000);
constexpr auto kGiveUpAfter = std::chrono::minutes(5);
// A reader that does nothing else keeps up. The limit bounds memory if the terminal blocks.
constexpr size_t kMostItems = 1 << 16;

// Returns whether the same call may end otherwise next time. An answer with a reason came from ftd
// itself and stands, except "not now"; one without a reason came from a transport that broke.
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

bool BringsFinalState(const ftd::v1::WatchJobResponse& event) {
  return IsFinal(event.has_snapshot() ? event.snapshot().state() : event.state_change().to());
}

}  // namespace

JobFollower::JobFollower(Connection& connection, std::string job)
    : connection_(connection),
      job_(std::move(job)),
      wake_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)),
      thread_([this] { Follow(); }) {}

// The stream blocks in Read: cancelling its context is the only way to end it.
JobFollower::~JobFollower() {
  {
    absl::MutexLock lock(&mutex_);
    stop_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }
  thread_.join();
}

std::deque<FollowItem> JobFollower::Take() {
  // The counter is reset together with the queue, so that the descriptor is readable exactly while
  // there are items.
  absl::MutexLock lock(&mutex_);
  uint64_t count = 0;
  (void)!read(wake_.get(), &count, sizeof count);
  return std::exchange(items_, {});
}

// Waits while the queue is full: gRPC's flow control then stops the server.
void JobFollower::Put(FollowItem item) {
  const auto may_put = [this]() ABSL_EXCLUSIVE_LOCKS_REQUIRED(mutex_) {
    return stop_ || items_.size() < kMostItems;
  };
  absl::MutexLock lock(&mutex_, absl::Condition(&may_put));
  items_.push_back(std::move(item));
  const uint64_t one = 1;
  (void)!write(wake_.get(), &one, sizeof one);
}

bool JobFollower::Pause(milliseconds time) {
  const auto end = steady_clock::now() + time;
  for (bool regained = false; !regained && steady_clock::now() < end;) {
    {
      absl::MutexLock lock(&mutex_);
      if (stop_) return false;
    }
    const auto left = std::chrono::ceil<milliseconds>(end - steady_clock::now());
    // In small pieces, so that the destructor does not wait for long.
    regained = connection_.Rest(std::min(left, kFirstPause));
  }
  return true;
}

// One WatchJob from the last token on. The token is kept with each message, so nothing is shown
// twice or lost.
grpc::Status JobFollower::Stream(bool* final) {
  ftd::v1::WatchJobRequest request;
  request.set_job(job_);
  request.set_resume_token(token_);
  grpc::ClientContext context;
  {
    absl::MutexLock lock(&mutex_);
    if (stop_) return grpc::Status::CANCELLED;
    context_ = &context;
  }
  auto reader = connection_.stub().WatchJob(&context, request);
  FollowItem item;
  while (reader->Read(&item.event)) {
    last_contact_ = steady_clock::now();
    if (std::exchange(lost_, false)) Put({FollowItem::kRegained, {}, {}});
    if (!item.event.resume_token().empty()) token_ = item.event.resume_token();
    *final = *final || BringsFinalState(item.event);
    Put(item);
  }
  grpc::Status status = reader->Finish();
  absl::MutexLock lock(&mutex_);
  context_ = nullptr;
  return status;
}

absl::Status JobFollower::BreakToStatus(const grpc::Status& broken) const {
  if (broken.ok()) return absl::UnavailableError("ftd ended the stream before the job ended");
  return connection_.ToStatus(broken);
}

void JobFollower::Follow() {
  bool final = false;
  // A stream that brought anything starts the back-off again.
  for (milliseconds pause = kFirstPause;; pause = std::min(pause * 2, kLongestPause)) {
    const auto before = last_contact_;
    const grpc::Status status = Stream(&final);
    if (status.ok() && final) return Put({FollowItem::kEnd, {}, absl::OkStatus()});
    if (!MayRecover(status)) return Put({FollowItem::kEnd, {}, BreakToStatus(status)});
    if (steady_clock::now() - last_contact_ > kGiveUpAfter) {
      return Put(
          {FollowItem::kEnd, {}, Prefixed(BreakToStatus(status), "no contact for five minutes: ")});
    }
    if (!std::exchange(lost_, true)) Put({FollowItem::kLost, {}, BreakToStatus(status)});
    if (last_contact_ != before) pause = kFirstPause;
    if (!Pause(std::max(pause, RetryDelay(status).value_or(pause)))) return;
  }
}

}  // namespace ftd

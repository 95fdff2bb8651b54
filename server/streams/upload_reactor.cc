#include "server/streams/upload_reactor.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "server/streams/grpc_status.h"

namespace ftd {

using std::chrono::steady_clock;

UploadReactor* UploadReactor::Start(UploadLane& lane, Who who, v1::UploadFileResponse* response) {
  const std::shared_ptr<UploadReactor> self(new UploadReactor(lane, response));
  self->self_ = self;
  lane.pool.Post([self, who = std::move(who)] {
    if (const absl::Status begun = self->Begin(who); !begun.ok()) self->End(begun);
    self->Continue();
  });
  return self.get();
}

absl::Status UploadReactor::Begin(const Who& who) {
  FTD_ASSIGN_OR_RETURN(Sender sender, who());
  admit_ = std::move(sender.admit);
  FTD_ASSIGN_OR_RETURN(slot_, lane_.slots.Take(sender.owner));
  return lane_.hub.AddUncounted(self_);
}

// Takes the header, which must come first and only once, or a piece of the file.
absl::Status UploadReactor::Take() {
  if (!request_.has_header()) {
    if (upload_ != nullptr) return upload_->Append(request_.data());
    return FieldError({{"header", "is missing; it must be the first message"}});
  }
  if (upload_ != nullptr) {
    return FieldError({{"header", "came twice; it is the first message alone"}});
  }
  const auto& header = request_.header();
  FTD_RETURN_IF_ERROR(admit_(header));
  FTD_ASSIGN_OR_RETURN(upload_,
                       Upload::Begin(lane_.directory, header.sha256(), header.size_bytes()));
  answer_.set_sha256(header.sha256());
  answer_.set_size_bytes(header.size_bytes());
  answer_.set_already_present(upload_->already_present());
  return absl::OkStatus();
}

// The client has sent all, or has gone: in that case the answer reaches nobody.
absl::Status UploadReactor::Complete() {
  if (upload_ == nullptr) return FieldError({{"header", "is missing; nothing was sent"}});
  return upload_->Finish();
}

void UploadReactor::OnReadDone(bool ok) {
  {
    const absl::MutexLock lock(&mutex_);
    if (finished_) return;  // that is what broke the read off
    working_ = true;
  }
  lane_.pool.Post([self = self_, ok] { self->Work(ok); });
}

// Bytes that the daemon has already need not be sent: the stream ends with the header.
void UploadReactor::Work(bool ok) {
  const absl::Status status = ok ? Take() : Complete();
  if (!ok || !status.ok() || answer_.already_present()) {
    upload_.reset();  // before the client hears of the end, so that it finds nothing left over
    const absl::MutexLock lock(&mutex_);
    if (!end_.has_value()) end_ = status;
  }
  Continue();
}

void UploadReactor::Continue() {
  bool ended = false;
  {
    const absl::MutexLock lock(&mutex_);
    working_ = false;
    ended = end_.has_value();
    if (!ended) ++starting_;
    since_ = steady_clock::now();
  }
  if (!ended) {
    StartRead(&request_);
    const absl::MutexLock lock(&mutex_);
    --starting_;
  }
  FinishIfEnded();
}

void UploadReactor::End(const absl::Status& status) {
  {
    const absl::MutexLock lock(&mutex_);
    if (!end_.has_value()) end_ = status;
  }
  FinishIfEnded();
}

void UploadReactor::Advance() {
  {
    const absl::MutexLock lock(&mutex_);
    if (working_ || steady_clock::now() - since_ < lane_.idle) return;
  }
  End(absl::DeadlineExceededError(absl::StrCat("nothing of the file came for ", lane_.idle.count(),
                                               " s; send it again, without a pause")));
}

// The slot is free before the client hears of the end, so that it may begin the next upload.
void UploadReactor::FinishIfEnded() {
  absl::Status status;
  {
    const absl::MutexLock lock(&mutex_);
    if (!end_.has_value() || finished_ || working_ || starting_ > 0) return;
    finished_ = true;
    status = *end_;
  }
  slot_.reset();
  if (status.ok()) *response_ = answer_;
  Finish(ToGrpc(status));
}

// The last call of gRPC. Removing a large file takes its time, so the pool does it.
void UploadReactor::OnDone() {
  lane_.hub.Remove(this);
  lane_.pool.Post([last = std::move(self_)] {});
}

}  // namespace ftd

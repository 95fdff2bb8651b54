#include "server/streams/watch_source.h"

#include "lib/base/error.h"

namespace ftd {
namespace {

constexpr absl::Duration kQuiet = absl::Seconds(5);
constexpr size_t kMostReadAhead = 64;

grpc::ByteBuffer Encode(const v1::WatchJobResponse& message) {
  const grpc::Slice slice = EncodeMessage(message);
  return grpc::ByteBuffer(&slice, 1);
}

}  // namespace

bool WatchSource::IsLate() const {
  return seen_end_.has_value() && SteadyNow() - *seen_end_ >= most_late_;
}

// A watch that was opened to see the past sees all of it: it takes from the tail only once it has
// caught up.
std::optional<WatchSource::Result> WatchSource::NextFromMemory() {
  if (!read_.empty()) return SendRead();
  if (!next_.has_value()) {
    if (!seen_end_.has_value()) return std::nullopt;
    next_ = tail_->Find(position_);
    if (!next_.has_value()) return std::nullopt;
    reader_.reset();
  }
  return TakeFromTail();
}

std::optional<WatchSource::Result> WatchSource::TakeFromTail() {
  auto taken = tail_->Take(&*next_, IsLate());
  if (absl::IsOutOfRange(taken.status())) {
    next_.reset();
    fell_out_ = true;
    return std::nullopt;
  }
  if (!taken.ok()) return taken.status();
  if (!taken->has_value()) {
    seen_end_ = SteadyNow();
    return Result(std::nullopt);
  }
  position_ = (*taken)->after;
  last_message_ = SteadyNow();
  return Result((*taken)->bytes);
}

WatchSource::Result WatchSource::Next() {
  if (reader_ == nullptr) {
    FTD_ASSIGN_OR_RETURN(WatchReader reader,
                         WatchReader::At(store_, state_dir_, job_id_, position_));
    reader_ = std::make_unique<WatchReader>(std::move(reader));
  }
  FTD_RETURN_IF_ERROR(ReadAhead());
  return read_.empty() ? CatchUp() : SendRead();
}

// Requires: nothing that was read is left. Some at once, so that not each message has to wait for a
// thread that may look at the disk.
absl::Status WatchSource::ReadAhead() {
  const bool collapse = fell_out_ && IsLate();
  while (read_.size() < kMostReadAhead) {
    auto next = reader_->Next();
    if (!next.ok() && read_.empty()) return next.status();
    if (!next.ok() || !next->has_value()) break;  // an error comes again
    v1::WatchJobResponse& message = **next;
    if (collapse && message.has_step() && !read_.empty() && read_.back().message.has_step()) {
      message.set_collapsed(read_.back().message.collapsed() + 1);
      tail_->CountCollapsed(1);
      read_.pop_back();
    }
    read_.push_back({std::move(message), reader_->position()});
  }
  return absl::OkStatus();
}

WatchSource::Result WatchSource::SendRead() {
  const Message next = std::move(read_.front());
  read_.pop_front();
  position_ = next.after;
  last_message_ = SteadyNow();
  return Encode(next.message);
}

// There is nothing more now. The tail may have read on meanwhile.
WatchSource::Result WatchSource::CatchUp() {
  seen_end_ = SteadyNow();
  fell_out_ = false;
  if (reader_->AtEnd()) return std::nullopt;
  next_ = tail_->Join(position_, std::move(*reader_));
  if (!next_.has_value()) return std::nullopt;
  reader_.reset();
  auto taken = TakeFromTail();
  return taken.has_value() ? *std::move(taken) : Next();
}

std::optional<grpc::ByteBuffer> WatchSource::Idle() {
  if (SteadyNow() - last_message_ < kQuiet) return std::nullopt;
  last_message_ = SteadyNow();
  v1::WatchJobResponse message;
  message.mutable_bookmark();
  message.set_resume_token(EncodeResumeToken(job_id_, position_));
  return Encode(message);
}

}  // namespace ftd

#include "server/streams/watch_source.h"

#include "lib/base/error.h"

namespace ftd {
namespace {

constexpr absl::Duration kQuiet = absl::Seconds(5);

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
  if (!next_.has_value()) {
    if (!seen_end_.has_value()) return std::nullopt;
    next_ = tail_->Find(position_);
    if (!next_.has_value()) return std::nullopt;
    reader_.reset();
    held_.reset();
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
  FTD_ASSIGN_OR_RETURN(const auto next, fell_out_&& IsLate() ? ReadCollapsed() : Read());
  if (!next.has_value()) return CatchUp();
  position_ = next->after;
  last_message_ = SteadyNow();
  return Encode(next->message);
}

absl::StatusOr<std::optional<WatchSource::Message>> WatchSource::Read() {
  if (held_.has_value()) return std::exchange(held_, std::nullopt);
  FTD_ASSIGN_OR_RETURN(auto next, reader_->Next());
  if (!next.has_value()) return std::nullopt;
  return Message{*std::move(next), reader_->position()};
}

absl::StatusOr<std::optional<WatchSource::Message>> WatchSource::ReadCollapsed() {
  FTD_ASSIGN_OR_RETURN(auto newest, Read());
  int64_t left_out = 0;
  while (newest.has_value() && newest->message.has_step()) {
    auto next = Read();
    if (!next.ok()) break;  // it comes again
    if (!next->has_value() || !(*next)->message.has_step()) {
      held_ = *std::move(next);
      break;
    }
    newest = *std::move(next);
    ++left_out;
  }
  if (left_out > 0) {
    newest->message.set_collapsed(left_out);
    tail_->CountCollapsed(left_out);
  }
  return newest;
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

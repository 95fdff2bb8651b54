#include "server/streams/watch_tail.h"

#include <algorithm>

#include "lib/base/error.h"

namespace ftd {
namespace {

// Watchers are woken after so many messages, so that they need not fall behind while a lot is read
// at once.
constexpr int kMessagesUntold = 64;

// Fields of a message may come in several pieces: this one says how many steps were left out.
grpc::Slice CollapsedField(int64_t steps) {
  v1::WatchJobResponse message;
  message.set_collapsed(steps);
  return EncodeMessage(message);
}

}  // namespace

grpc::Slice EncodeMessage(const v1::WatchJobResponse& message) {
  grpc::Slice slice(message.ByteSizeLong());
  message.SerializeWithCachedSizesToArray(const_cast<uint8_t*>(slice.begin()));
  return slice;
}

std::optional<int64_t> WatchTail::Find(const WatchPosition& position) const {
  const absl::ReaderMutexLock lock(&mutex_);
  return FindLocked(position);
}

// Positions are compared as a whole. Two readers may see a step and a change of state that come at
// the same moment in either order: their positions agree again after both.
std::optional<int64_t> WatchTail::FindLocked(const WatchPosition& position) const {
  if (reader_ == nullptr) return std::nullopt;
  for (size_t i = messages_.size(); i-- > 0;) {
    if (messages_[i].after == position) return first_ + static_cast<int64_t>(i) + 1;
  }
  if (before_ == position) return first_;
  return std::nullopt;
}

std::optional<int64_t> WatchTail::Join(const WatchPosition& position, WatchReader&& reader) {
  {
    const absl::MutexLock lock(&mutex_);
    if (reader_ != nullptr) return FindLocked(position);
    before_ = position;
    reader_ = std::make_unique<WatchReader>(std::move(reader));
  }
  Advance();  // something may have come since the reader's last look
  return Find(position);
}

absl::StatusOr<std::optional<WatchTail::Taken>> WatchTail::Take(int64_t* next, bool collapse) {
  const absl::MutexLock lock(&mutex_);
  if (*next < first_) return absl::OutOfRangeError("the tail has moved on");
  auto index = static_cast<size_t>(*next - first_);
  if (index == messages_.size()) {
    FTD_RETURN_IF_ERROR(error_);
    return std::nullopt;
  }
  int64_t left_out = 0;
  if (collapse && messages_.size() - index > kFarBehind && messages_[index].is_step) {
    while (index + 1 < messages_.size() && messages_[index + 1].is_step) {
      ++index;
      ++left_out;
    }
  }
  const Message& message = messages_[index];
  *next = first_ + static_cast<int64_t>(index) + 1;
  if (left_out == 0) return Taken{grpc::ByteBuffer(&message.bytes, 1), message.after};
  CountCollapsed(left_out);
  const grpc::Slice pieces[] = {message.bytes, CollapsedField(left_out)};
  return Taken{grpc::ByteBuffer(pieces, 2), message.after};
}

bool WatchTail::AtEnd(int64_t next) const {
  const absl::ReaderMutexLock lock(&mutex_);
  return at_end_ && next == first_ + static_cast<int64_t>(messages_.size());
}

void WatchTail::Advance() {
  {
    const absl::MutexLock lock(&mutex_);
    again_ = true;
    if (std::exchange(reading_, true)) return;
  }
  lane_.Post([self = self_.lock()] {
    if (self != nullptr) self->Read();
  });
}

void WatchTail::Push(Message message) {
  const absl::MutexLock lock(&mutex_);
  bytes_ += message.bytes.size();
  messages_.push_back(std::move(message));
  while (messages_.size() > kMostMessages || (bytes_ > kMostBytes && messages_.size() > 1)) {
    bytes_ -= messages_.front().bytes.size();
    before_ = messages_.front().after;
    ++first_;
    messages_.pop_front();
  }
}

// Without a reader, all watchers still read for themselves: then the news are passed on to them.
void WatchTail::Read() {
  int untold = 0;
  while (true) {
    WatchReader* reader = nullptr;
    {
      const absl::MutexLock lock(&mutex_);
      reader = reader_.get();
      if (reader == nullptr) untold = 1;
      if (!std::exchange(again_, false) || !error_.ok()) {
        reading_ = false;
        break;
      }
    }
    if (reader == nullptr) continue;
    while (true) {
      auto next = reader->Next();
      if (!next.ok() || !next->has_value()) {
        const absl::MutexLock lock(&mutex_);
        if (!next.ok()) error_ = next.status();
        const bool ended = reader->AtEnd() && !std::exchange(at_end_, true);
        if (ended || !next.ok()) ++untold;
        break;
      }
      Push({EncodeMessage(**next), reader->position(), (*next)->has_step()});
      if (++untold % kMessagesUntold == 0) hub_.Notify(key_);
    }
  }
  if (untold > 0) hub_.Notify(key_);
}

}  // namespace ftd

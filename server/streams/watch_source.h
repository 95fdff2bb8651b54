// WatchJob's stream: a job's messages from the tail that it shares with other watchers, or, until
// it has caught up with that, from a reader of its own; and bookmarks.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <cstdint>
#include <deque>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "lib/base/steady_clock.h"
#include "server/host/stream_source.h"
#include "server/streams/watch_reader.h"
#include "server/streams/watch_tail.h"

namespace ftd {

class WatchSource : public StreamSource<grpc::ByteBuffer> {
 public:
  using Result = absl::StatusOr<std::optional<grpc::ByteBuffer>>;

  // One who has not been at the end for so long is slow, and not only busy with a lot that came at
  // once.
  static constexpr absl::Duration kMostLate = absl::Seconds(2);

  // `store` and `state_dir` must outlive it.
  WatchSource(JobStore& store, const StateDir& state_dir, WatchReader reader,
              std::shared_ptr<WatchTail> tail, absl::Duration most_late = kMostLate)
      : store_(store),
        state_dir_(state_dir),
        job_id_(reader.job_id()),
        tail_(std::move(tail)),
        most_late_(most_late),
        position_(reader.position()),
        reader_(std::make_unique<WatchReader>(std::move(reader))) {}

  Result Next() override;
  std::optional<Result> NextFromMemory() override;
  bool AtEnd() const override {
    if (next_.has_value()) return tail_->AtEnd(*next_);
    return reader_ != nullptr && read_.empty() && reader_->AtEnd();
  }
  // Returns a bookmark after five quiet seconds, so that a client's token is recent and a dead
  // connection is noticed.
  std::optional<grpc::ByteBuffer> Idle() override;

 private:
  // A message with the position after it.
  struct Message {
    v1::WatchJobResponse message;
    WatchPosition after;
  };

  // It was at the end once, and has not been there for too long.
  bool IsLate() const;
  // Nullopt: the tail does not hold its next message any more.
  std::optional<Result> TakeFromTail();
  // Reads some messages with the reader of its own; none: there is nothing more now.
  absl::Status ReadAhead();
  Result SendRead();
  Result CatchUp();

  JobStore& store_;
  const StateDir& state_dir_;
  const std::string job_id_;
  const std::shared_ptr<WatchTail> tail_;
  const absl::Duration most_late_;
  WatchPosition position_;               // after the last message that was sent
  std::optional<int64_t> next_;          // its next message of the tail; none: it reads for itself
  std::unique_ptr<WatchReader> reader_;  // until then
  std::deque<Message> read_;             // with it, and not sent yet
  bool fell_out_ = false;                // of the tail, and has not caught up since
  std::optional<Moment> seen_end_;       // when there was nothing more to send
  Moment last_message_ = SteadyNow();
};

}  // namespace ftd

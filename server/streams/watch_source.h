// WatchJob's stream: a WatchReader with bookmarks.
#pragma once

#include <optional>
#include <utility>

#include "lib/base/steady_clock.h"
#include "server/host/stream_source.h"
#include "server/streams/watch_reader.h"

namespace ftd {

class WatchSource : public StreamSource<v1::WatchJobResponse> {
 public:
  explicit WatchSource(WatchReader reader) : reader_(std::move(reader)) {}

  absl::StatusOr<std::optional<v1::WatchJobResponse>> Next() override {
    auto next = reader_.Next();
    if (next.ok() && next->has_value()) last_message_ = SteadyNow();
    return next;
  }
  bool AtEnd() const override { return reader_.AtEnd(); }
  // Returns a bookmark after five quiet seconds, so that a client's token is recent and a dead
  // connection is noticed.
  std::optional<v1::WatchJobResponse> Idle() override {
    if (SteadyNow() - last_message_ < absl::Seconds(5)) return std::nullopt;
    last_message_ = SteadyNow();
    return reader_.Bookmark();
  }

 private:
  WatchReader reader_;
  Moment last_message_ = SteadyNow();
};

}  // namespace ftd

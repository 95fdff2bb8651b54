// A source that holds something for as long as its stream lives.
#pragma once

#include <memory>
#include <optional>
#include <utility>

#include "server/host/stream_source.h"

namespace ftd {

template <typename Message>
class CountedSource : public StreamSource<Message> {
 public:
  // `slot`: of the caller's streams; given back with this source.
  CountedSource(std::unique_ptr<StreamSource<Message>> source, std::shared_ptr<void> slot)
      : slot_(std::move(slot)), source_(std::move(source)) {}

  absl::StatusOr<std::optional<Message>> Next() override { return source_->Next(); }
  std::optional<absl::StatusOr<std::optional<Message>>> NextFromMemory() override {
    return source_->NextFromMemory();
  }
  bool AtEnd() const override { return source_->AtEnd(); }
  std::optional<Message> Idle() override { return source_->Idle(); }

 private:
  const std::shared_ptr<void> slot_;
  const std::unique_ptr<StreamSource<Message>> source_;
};

}  // namespace ftd

// BackUpDatabase's stream: a copy of the database, made on a thread of its own and then sent.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <optional>
#include <thread>

#include "absl/base/thread_annotations.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "server/host/state_dir.h"
#include "server/host/stream_source.h"

namespace ftd {

class BackupSource : public StreamSource<v1::BackUpDatabaseResponse> {
 public:
  // `state_dir` must outlive it. `wake` is called on its thread, once, when there is something to
  // send.
  BackupSource(const StateDir& state_dir, std::function<void()> wake);
  // A copy that is being made is broken off.
  ~BackupSource() override;

  absl::StatusOr<std::optional<v1::BackUpDatabaseResponse>> Next() override;
  bool AtEnd() const override { return sent_all_; }

 private:
  absl::StatusOr<Fd> MakeCopy() const;

  const StateDir& state_dir_;
  std::atomic<bool> cancelled_{false};
  absl::Mutex mutex_;
  std::optional<absl::StatusOr<Fd>> made_ ABSL_GUARDED_BY(mutex_);
  // Of the stream alone.
  Fd copy_;
  int64_t left_ = 0;  // bytes to send
  Sha256 hash_;
  bool sent_all_ = false;
  std::thread thread_;  // last: it uses the others
};

}  // namespace ftd

// UploadFile's stream: a header, then the file's bytes, then one response.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <chrono>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>

#include "absl/base/thread_annotations.h"
#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/synchronization/mutex.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "server/host/task_pool.h"
#include "server/host/uploads.h"
#include "server/streams/upload_slots.h"
#include "server/streams/watch_hub.h"

namespace ftd {

// What all uploads share. Their disk work has threads of its own: a disk that is slow to write
// keeps neither gRPC's threads nor other calls waiting.
struct UploadLane {
  const std::filesystem::path directory;
  WatchHub& hub;                    // ends them when the daemon does, and looks for idle ones
  const std::chrono::seconds idle;  // one on which nothing came for so long ends
  UploadSlots slots = {};
  TaskPool pool{4};
};

// Keeps itself alive until gRPC is done with it.
//
// Either a read is in flight, or a thread of the pool works on what it brought, which then starts
// the next read. An end from outside finishes the call at once in the first case and is left to the
// pool's thread in the second. No lock is held while gRPC is called.
class UploadReactor : public grpc::ServerReadReactor<v1::UploadFileRequest>, public Watcher {
 public:
  // Whether a file may be sent, asked once, of its header.
  using Admit = std::function<absl::Status(const v1::UploadFileRequest::Header&)>;
  struct Sender {
    std::string owner;
    Admit admit;
  };
  // `lane` must outlive the call. `who` is asked on it who sends, and may refuse; so does a lane
  // that has no slot for the owner.
  using Who = std::function<absl::StatusOr<Sender>()>;
  static UploadReactor* Start(UploadLane& lane, Who who, v1::UploadFileResponse* response);

  void OnReadDone(bool ok) override;
  void OnDone() override;
  // Called by the hub about once a second.
  void Advance() override;
  void End(const absl::Status& status) override;

 private:
  UploadReactor(UploadLane& lane, v1::UploadFileResponse* response)
      : lane_(lane), response_(response) {}
  absl::Status Begin(const Who& who);
  // The pool's work: what a read brought, or the end of the file.
  void Work(bool ok);
  // Ok with the upload begun or continued; FIELD_INVALID for messages in the wrong order.
  absl::Status Take();
  absl::Status Complete();
  // Ends the work: starts the next read unless the upload has ended.
  void Continue();
  void FinishIfEnded();

  UploadLane& lane_;
  v1::UploadFileResponse* const response_;  // gRPC's, until Finish
  std::shared_ptr<UploadReactor> self_;
  std::unique_ptr<UploadSlots::Slot> slot_;
  // The pool's work alone uses these.
  Admit admit_;
  v1::UploadFileRequest request_;
  v1::UploadFileResponse answer_;
  std::unique_ptr<Upload> upload_;

  absl::Mutex mutex_;
  bool working_ ABSL_GUARDED_BY(mutex_) = true;  // until the first read is started
  int starting_ ABSL_GUARDED_BY(mutex_) = 0;     // threads that are about to start a read
  bool finished_ ABSL_GUARDED_BY(mutex_) = false;
  std::optional<absl::Status> end_ ABSL_GUARDED_BY(mutex_);
  std::chrono::steady_clock::time_point since_ ABSL_GUARDED_BY(mutex_);  // of the read in flight
};

}  // namespace ftd

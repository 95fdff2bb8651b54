// UploadFile's stream: a header, then the file's bytes, then one response.
#pragma once

#include <grpcpp/support/server_callback.h>

#include <filesystem>
#include <memory>

#include "absl/status/status.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "server/host/task_pool.h"
#include "server/host/uploads.h"

namespace ftd {

// Owned by gRPC: deletes itself in OnDone. `pool` runs the last, slow part and must outlive it.
class UploadReactor : public grpc::ServerReadReactor<v1::UploadFileRequest> {
 public:
  // Whether a file may be sent, asked once, of its header.
  using Admit = std::function<absl::Status(const v1::UploadFileRequest::Header&)>;
  UploadReactor(std::filesystem::path uploads, TaskPool& pool, Admit admit,
                v1::UploadFileResponse* response);

  void OnReadDone(bool ok) override;
  void OnDone() override;

 private:
  // Ok with the upload begun or continued; FIELD_INVALID for messages in the wrong order.
  absl::Status Take(const v1::UploadFileRequest& request);
  void Complete();

  const std::filesystem::path uploads_;
  TaskPool& pool_;
  const Admit admit_;
  v1::UploadFileResponse* const response_;
  v1::UploadFileRequest request_;
  std::unique_ptr<Upload> upload_;
};

}  // namespace ftd

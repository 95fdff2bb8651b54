#include "server/streams/upload_reactor.h"

#include <memory>
#include <utility>

#include "lib/base/error.h"
#include "server/streams/grpc_status.h"

namespace ftd {

UploadReactor::UploadReactor(std::filesystem::path uploads, TaskPool& pool, Admit admit,
                             v1::UploadFileResponse* response)
    : uploads_(std::move(uploads)), pool_(pool), admit_(std::move(admit)), response_(response) {
  StartRead(&request_);
}

// Takes the header, which must come first and only once, or a piece of the file.
absl::Status UploadReactor::Take(const v1::UploadFileRequest& request) {
  if (request.has_header()) {
    if (upload_ != nullptr) {
      return FieldError({{"header", "came twice; it is the first message alone"}});
    }
    FTD_RETURN_IF_ERROR(admit_(request.header()));
    FTD_ASSIGN_OR_RETURN(
        upload_, Upload::Begin(uploads_, request.header().sha256(), request.header().size_bytes()));
    response_->set_sha256(request.header().sha256());
    response_->set_size_bytes(request.header().size_bytes());
    response_->set_already_present(upload_->already_present());
    return absl::OkStatus();
  }
  if (upload_ == nullptr) {
    return FieldError({{"header", "is missing; it must be the first message"}});
  }
  return upload_->Append(request.data());
}

// Runs on one of gRPC's threads. One read is in flight at a time, so no lock is needed.
void UploadReactor::OnReadDone(bool ok) {
  if (!ok) return Complete();
  if (const absl::Status taken = Take(request_); !taken.ok()) return Finish(ToGrpc(taken));
  // Bytes that the daemon has already need not be sent: the stream ends with the header.
  if (response_->already_present()) return Finish(grpc::Status::OK);
  StartRead(&request_);
}

// Ends the upload when the client has sent all, or has gone: in that case Finish reaches nobody and
// the temporary file is removed. The fsync may take long, so a thread of the pool does it.
void UploadReactor::Complete() {
  if (upload_ == nullptr) {
    return Finish(ToGrpc(FieldError({{"header", "is missing; nothing was sent"}})));
  }
  pool_.Post([this] { Finish(ToGrpc(upload_->Finish())); });
}

void UploadReactor::OnDone() { const std::unique_ptr<UploadReactor> self(this); }

}  // namespace ftd

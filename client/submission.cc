#include "client/submission.h"

#include "artifacts/error.h"
#include "client/upload.h"

namespace ftd {

absl::StatusOr<ftd::v1::Job> Submit(Connection& connection, SubmitFlags* submit) {
  FTD_RETURN_IF_ERROR(CompleteRequest(submit));
  auto& request = submit->request;
  FTD_RETURN_IF_ERROR(
      UploadDataset(connection, submit->dataset, request.mutable_spec()->mutable_dataset()));
  return connection.Call(&ftd::v1::FineTuning::Stub::SubmitJob, request);
}

}  // namespace ftd

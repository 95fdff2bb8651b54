#include "server/streams/grpc_status.h"

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

// Returns the status in google.rpc's model of rich errors, which gRPC sends in the trailer
// grpc-status-details-bin. https://google.aip.dev/193
google::rpc::Status RichStatus(const absl::Status& status) {
  google::rpc::Status rich;
  rich.set_code(static_cast<int>(status.code()));
  rich.set_message(std::string(status.message()));

  google::rpc::ErrorInfo info;
  const std::string reason = ReasonNameOf(status);
  info.set_reason(reason.empty() ? absl::StatusCodeToString(status.code()) : reason);
  info.set_domain("ftd");
  rich.add_details()->PackFrom(info);

  google::rpc::BadRequest bad_request;
  for (const FieldViolation& violation : ViolationsOf(status)) {
    auto* field = bad_request.add_field_violations();
    field->set_field(violation.field);
    field->set_description(violation.description);
  }
  if (bad_request.field_violations_size() > 0) rich.add_details()->PackFrom(bad_request);

  // UNAVAILABLE is the only code that a client may retry without thinking.
  if (status.code() == absl::StatusCode::kUnavailable) {
    google::rpc::RetryInfo retry;
    retry.mutable_retry_delay()->set_seconds(1);
    rich.add_details()->PackFrom(retry);
  }
  return rich;
}

}  // namespace

grpc::Status ToGrpc(const absl::Status& status) {
  if (status.ok()) return grpc::Status::OK;
  // The codes of absl and gRPC have the same numbers.
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
          RichStatus(status).SerializeAsString()};
}

}  // namespace ftd

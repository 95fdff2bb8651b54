#include "server/streams/grpc_status.h"

#include <string>

#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"

namespace ftd {
namespace {

// gRPC drops an answer whose metadata exceeds 8 KiB, and the client sees another error. An error
// may quote what a client sent; the message is sent twice, once percent-encoded and once in base64.
constexpr size_t kMaxMessage = 1200, kMaxDescription = 400, kMaxField = 100, kMaxViolations = 4;

// A message may quote a file's name, which may be any bytes.
std::string Quotable(std::string_view text, size_t max_bytes) {
  return Shortened(RepairUtf8(text), max_bytes);
}

// Returns the status in google.rpc's model of rich errors, which gRPC sends in the trailer
// grpc-status-details-bin. https://google.aip.dev/193
google::rpc::Status RichStatus(const absl::Status& status) {
  google::rpc::Status rich;
  rich.set_code(static_cast<int>(status.code()));
  rich.set_message(Quotable(std::string(status.message()), kMaxMessage));

  google::rpc::ErrorInfo info;
  const std::string reason = ReasonNameOf(status);
  info.set_reason(reason.empty() ? absl::StatusCodeToString(status.code()) : reason);
  info.set_domain("ftd");
  rich.add_details()->PackFrom(info);

  google::rpc::BadRequest bad_request;
  size_t bytes = 0;
  for (const FieldViolation& violation : ViolationsOf(status)) {
    auto* field = bad_request.add_field_violations();
    field->set_field(Quotable(violation.field, kMaxField));
    field->set_description(Quotable(violation.description, kMaxDescription));
    bytes += field->field().size() + field->description().size();
    if (bytes > kMaxViolations * kMaxDescription) break;
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
  return {static_cast<grpc::StatusCode>(status.code()),
          Quotable(std::string(status.message()), kMaxMessage),
          RichStatus(status).SerializeAsString()};
}

}  // namespace ftd

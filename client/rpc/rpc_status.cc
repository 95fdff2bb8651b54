#include "client/rpc/rpc_status.h"

#include <algorithm>
#include <string>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "google/rpc/error_details.pb.h"
#include "google/rpc/status.pb.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

// Returns the detail of type T, or none.
template <class T>
std::optional<T> Detail(const grpc::Status& status) {
  google::rpc::Status rich;
  if (!rich.ParseFromString(status.error_details())) return std::nullopt;
  for (const google::protobuf::Any& any : rich.details()) {
    T detail;
    if (any.Is<T>() && any.UnpackTo(&detail)) return detail;
  }
  return std::nullopt;
}

}  // namespace

absl::Status StatusFromRpc(const grpc::Status& status) {
  if (status.ok()) return absl::OkStatus();
  std::string message = status.error_message();
  // Fields that the message does not name already.
  if (const auto bad = Detail<google::rpc::BadRequest>(status)) {
    for (const auto& violation : bad->field_violations()) {
      if (absl::StrContains(message, violation.field())) continue;
      absl::StrAppend(&message, "\n  ", violation.field(), ": ", violation.description());
    }
  }
  // A server that knows a call has a reason for not answering it.
  if (message.empty() && status.error_code() == grpc::StatusCode::UNIMPLEMENTED)
    message =
        "ftd does not know this call: it is older than this ftctl; upgrade it, or use the ftctl "
        "of its release";
  if (message.empty())
    message = absl::StrCat("ftd answered with code ", static_cast<int>(status.error_code()));
  const auto info = Detail<google::rpc::ErrorInfo>(status);
  const auto code = static_cast<absl::StatusCode>(status.error_code());
  return info ? ErrorNamed(code, info->reason(), message) : absl::Status(code, message);
}

// Bounded, because it comes from outside.
std::optional<std::chrono::milliseconds> RetryDelay(const grpc::Status& status) {
  const auto info = Detail<google::rpc::RetryInfo>(status);
  if (!info) return std::nullopt;
  const int64_t seconds = std::clamp<int64_t>(info->retry_delay().seconds(), 0, 3600);
  return std::chrono::milliseconds(seconds * 1000 + info->retry_delay().nanos() / 1000000);
}

}  // namespace ftd

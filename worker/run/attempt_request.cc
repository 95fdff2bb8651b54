#include "worker/run/attempt_request.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "google/protobuf/util/json_util.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "nlohmann/json.hpp"

namespace ftd {

// Unknown fields are ignored, so that a daemon of a later release can start this worker.
absl::StatusOr<v1::AttemptRequest> ReadAttemptRequest(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  v1::AttemptRequest request;
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = true;
  const auto parsed = google::protobuf::util::JsonStringToMessage(json, &request, options);
  if (parsed.ok()) return request;
  return absl::InvalidArgumentError(absl::StrCat(path.string(), ": ", parsed.ToString()));
}

namespace {

// Names as in the proto file, which is what ResolveTrainSpec reads.
absl::StatusOr<std::string> SpecJson(const v1::AttemptRequest& request) {
  std::string json;
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  const auto printed = google::protobuf::util::MessageToJsonString(request.spec(), &json, options);
  if (!printed.ok()) return absl::InternalError(printed.ToString());
  return json;
}

}  // namespace

absl::StatusOr<TrainSpec> SpecOf(const v1::AttemptRequest& request) {
  FTD_ASSIGN_OR_RETURN(const std::string json, SpecJson(request));
  // float32 only for a spec that leaves the dtype open; the daemon's specs are resolved.
  return ResolveTrainSpec(json, Dtype::kFloat32);
}

// A checkpoint carries this hash, and is resumed only by a run of the same spec.
absl::StatusOr<std::string> SpecHash(const v1::AttemptRequest& request) {
  FTD_ASSIGN_OR_RETURN(const std::string json, SpecJson(request));
  // protobuf prints a map in any order; parsed, it is sorted.
  return Sha256Hex(nlohmann::json::parse(json).dump());
}

}  // namespace ftd

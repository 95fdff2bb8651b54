#include "worker/run/attempt_request.h"

#include <string>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/runlog/message_json.h"
#include "nlohmann/json.hpp"

namespace ftd {

// Unknown fields are ignored, so that a daemon of a later release can start this worker.
absl::StatusOr<v1::AttemptRequest> ReadAttemptRequest(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(const std::string json, ReadFile(path));
  v1::AttemptRequest request;
  const absl::Status parsed = MessageFromJson(json, UnknownFields::kIgnored, &request);
  if (parsed.ok()) return request;
  return Prefixed(parsed, absl::StrCat(path.string(), ": "));
}

// Names as in the proto file, which is what ResolveTrainSpec reads.
absl::StatusOr<TrainSpec> SpecOf(const v1::AttemptRequest& request) {
  FTD_ASSIGN_OR_RETURN(const std::string json, MessageToJson(request.spec()));
  // float32 only for a spec that leaves the dtype open; the daemon's specs are resolved.
  return ResolveTrainSpec(json, Dtype::kFloat32);
}

// A checkpoint carries this hash, and is resumed only by a run of the same spec.
absl::StatusOr<std::string> SpecHash(const v1::AttemptRequest& request) {
  FTD_ASSIGN_OR_RETURN(const std::string json, MessageToJson(request.spec()));
  // protobuf prints a map in any order; parsed, it is sorted.
  return Sha256Hex(nlohmann::json::parse(json).dump());
}

}  // namespace ftd

// Any bytes as a job's spec: as JSON, and, after a zero byte, as the message that a client sends.
// What is accepted is stored as JSON that says the same.
#include <cstdint>
#include <cstdlib>
#include <string>

#include "ftd/v1/job.pb.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/runlog/message_json.h"
#include "lib/spec/train_spec.h"

namespace {

void Check(bool holds) {
  if (!holds) std::abort();
}

void CheckError(const absl::Status& status) {
  const auto message = status.message();
  Check(!message.empty() && ftd::IsValidUtf8({message.data(), message.size()}));
  for (const ftd::FieldViolation& violation : ftd::ViolationsOf(status)) {
    Check(!violation.field.empty() && ftd::IsValidUtf8(violation.description));
  }
}

void Judge(const std::string& json) {
  const auto spec = ftd::ResolveTrainSpec(json, ftd::Dtype::kBfloat16);
  if (!spec.ok()) return CheckError(spec.status());
  const std::string stored = ftd::TrainSpecToJson(*spec);
  const auto again = ftd::ResolveTrainSpec(stored, ftd::Dtype::kFloat32);
  Check(again.ok() && ftd::TrainSpecToJson(*again) == stored);
  // As the daemon reads it when it shows the job.
  ftd::v1::JobSpec message;
  Check(ftd::MessageFromJson(stored, ftd::UnknownFields::kRefused, &message).ok());
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string input(reinterpret_cast<const char*>(data), size);
  if (input.empty() || input[0] != 0) {
    Judge(input);
    return 0;
  }
  ftd::v1::JobSpec message;
  if (!message.ParseFromString(input.substr(1))) return 0;
  const auto json = ftd::MessageToJson(message);
  if (json.ok()) Judge(*json);
  return 0;
}

#include "lib/runlog/message_json.h"

#include "google/protobuf/util/json_util.h"

namespace ftd {

absl::StatusOr<std::string> MessageToJson(const google::protobuf::Message& message,
                                          JsonStyle style) {
  google::protobuf::util::JsonPrintOptions options;
  options.preserve_proto_field_names = true;
  options.add_whitespace = style == JsonStyle::kIndented;
  std::string json;
  const auto printed = google::protobuf::util::MessageToJsonString(message, &json, options);
  if (!printed.ok()) return absl::InternalError(printed.ToString());
  return json;
}

absl::Status MessageFromJson(std::string_view json, UnknownFields unknown,
                             google::protobuf::Message* message) {
  google::protobuf::util::JsonParseOptions options;
  options.ignore_unknown_fields = unknown == UnknownFields::kIgnored;
  const auto parsed =
      google::protobuf::util::JsonStringToMessage({json.data(), json.size()}, message, options);
  if (!parsed.ok()) return absl::InvalidArgumentError(parsed.ToString());
  return absl::OkStatus();
}

}  // namespace ftd

// protobuf messages as JSON, by protobuf's own printer and parser, under the names of the .proto
// file. What ftctl prints for scripts has another schema (`plain_json.h`).
#pragma once

#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "google/protobuf/message.h"

namespace ftd {

enum class JsonStyle { kCompact, kIndented };
enum class UnknownFields { kRefused, kIgnored };  // ignored: of a later release

// INTERNAL for a string that is not UTF-8 and for a number of a Struct that JSON cannot hold.
absl::StatusOr<std::string> MessageToJson(const google::protobuf::Message& message,
                                          JsonStyle style = JsonStyle::kCompact);

// Sets `message` to what `json` says, alone. INVALID_ARGUMENT if it is not JSON or not of the
// message's shape.
absl::Status MessageFromJson(std::string_view json, UnknownFields unknown,
                             google::protobuf::Message* message);

}  // namespace ftd

// protobuf messages as JSON for scripts: what `ftctl -o json` prints and a notification carries.
// docs/cli.md writes the schema down.
#pragma once

#include "google/protobuf/message.h"
#include "nlohmann/json.hpp"

namespace ftd {

// By reflection, in the order of the .proto file: snake_case names; 64-bit integers as numbers;
// enums as names (an unknown one as its number); zero values printed; Timestamps as RFC 3339 in
// UTC. A message or `optional` field that is not set is null; of a oneof only the member that is
// set appears. NaN and infinities are the strings "NaN", "Infinity", "-Infinity", as in proto3's
// own JSON.
nlohmann::ordered_json ToJson(const google::protobuf::Message& message);

}  // namespace ftd

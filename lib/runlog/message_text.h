// protobuf messages whose texts may not be UTF-8, which proto3 refuses to parse: a record of
// another process is worth more than the few bytes that are wrong in it.
#pragma once

#include <string>
#include <string_view>

#include "google/protobuf/message.h"

namespace ftd {

// Parses `bytes` into `message`. In texts that are not UTF-8, at any depth, U+FFFD replaces what is
// wrong. False, with `message` unspecified, if they are not a message.
bool ParseRepairingText(const std::string& bytes, google::protobuf::Message* message);

}  // namespace ftd

// google.protobuf.Timestamp as microseconds since the epoch. Any value is taken: a log that is read
// may hold any.
#pragma once

#include <cstdint>

#include "google/protobuf/timestamp.pb.h"

namespace ftd {

inline google::protobuf::Timestamp MicrosToTimestamp(int64_t micros) {
  google::protobuf::Timestamp time;
  time.set_seconds(micros / 1000000);
  time.set_nanos(static_cast<int32_t>(micros % 1000000) * 1000);
  return time;
}

inline int64_t TimestampToMicros(const google::protobuf::Timestamp& time) {
  return time.seconds() * 1000000 + time.nanos() / 1000;
}

}  // namespace ftd

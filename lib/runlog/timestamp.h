// google.protobuf.Timestamp as absl::Time, to the microsecond, which is what logs and the database
// hold. Any value is taken: a log that is read may hold any.
#pragma once

#include <cstdint>

#include "absl/time/time.h"
#include "google/protobuf/timestamp.pb.h"

namespace ftd {

inline google::protobuf::Timestamp ToTimestamp(absl::Time time) {
  const int64_t micros = absl::ToUnixMicros(time);
  google::protobuf::Timestamp timestamp;
  timestamp.set_seconds(micros / 1000000);
  timestamp.set_nanos(static_cast<int32_t>(micros % 1000000) * 1000);
  return timestamp;
}

inline absl::Time ToTime(const google::protobuf::Timestamp& timestamp) {
  return absl::FromUnixSeconds(timestamp.seconds()) + absl::Microseconds(timestamp.nanos() / 1000);
}

// Seconds since 1970, as Prometheus has a time.
inline double ToUnixDouble(absl::Time time) {
  return static_cast<double>(absl::ToUnixMicros(time)) / 1e6;
}

}  // namespace ftd

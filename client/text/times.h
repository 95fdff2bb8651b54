// protobuf Timestamps: as text, and as seconds.
#pragma once

#include <string>

#include "google/protobuf/timestamp.pb.h"

namespace ftd {

// "2026-11-22T17:40:00.123456789Z"; the fraction is left out when it is 0, and has 3, 6 or 9
// digits.
std::string Rfc3339(const google::protobuf::Timestamp& time);

// "2026-11-22 17:40:00" in local time.
std::string LocalTime(const google::protobuf::Timestamp& time);

// Since 1970.
double Seconds(const google::protobuf::Timestamp& time);

// Now, since 1970.
double NowSeconds();

}  // namespace ftd

// protobuf Timestamps: as text, and as seconds.
#pragma once

#include <string>

#include "google/protobuf/timestamp.pb.h"

namespace ftd {

// "2026-11-22 17:40:00" in local time.
std::string LocalTime(const google::protobuf::Timestamp& time);

// Since 1970.
double Seconds(const google::protobuf::Timestamp& time);

// Now, since 1970.
double NowSeconds();

}  // namespace ftd

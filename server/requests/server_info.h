// The content of GetServerInfo that is known of this build and this machine.
#pragma once

#include "ftd/v1/fine_tuning.pb.h"
#include "server/attempts/device.h"
#include "server/host/options.h"
#include "server/host/state_dir.h"

namespace ftd {

// Everything but addresses, times and counts, which the daemon knows. Each call looks at the disks
// and the token again.
v1::ServerInfo DescribeServer(const Options& options, const StateDir& state_dir,
                              const Device& device);

}  // namespace ftd

// Progress in words.
#pragma once

#include <string>

#include "ftd/v1/job.pb.h"

namespace ftd {

// "1.2 GB of 16.1 GB, 95.0 MB/s, ETA 2m36s", "120 of 999 rows". Requires: the total is known.
std::string ProgressText(const ftd::v1::Progress& progress);

}  // namespace ftd

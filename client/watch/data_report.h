// What a job's rows are, on stdout.
#pragma once

#include "ftd/v1/fine_tuning.pb.h"

namespace ftd {

// Numbers, the histogram of lengths, and the first rows with what is learned: in colour on a
// terminal, else between marks.
void PrintDataReport(const ftd::v1::DataReport& report);

}  // namespace ftd

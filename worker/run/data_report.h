// What a run's rows are, as the daemon and its clients are told.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "ftd/v1/job.pb.h"
#include "lib/data/row_report.h"
#include "lib/data/row_source.h"

namespace ftd {

// `eval`: the rows that are kept back from training; may be null. Errors: their lengths cannot be
// read.
absl::StatusOr<v1::DataReport> MakeDataReport(const RowReport& rows, const RowSource* eval);

// The report in a line, for a log. Requires: a row was kept.
std::string DataLine(const v1::DataReport& report);

}  // namespace ftd

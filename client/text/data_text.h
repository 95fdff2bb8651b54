// What a job's rows are, in words and pictures. Pure functions.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "client/text/styled_line.h"
#include "ftd/v1/job.pb.h"

namespace ftd {

// "rows", "tokens", "lengths" and what else there is to say, each with its value; for KeyValues.
std::vector<std::pair<std::string, std::string>> DataSummary(const ftd::v1::DataReport& report);

// The lengths of the rows as bars, at most `columns` wide; no lines without rows.
std::vector<StyledLine> LengthHistogram(const ftd::v1::DataReport& report, int columns,
                                        bool unicode);

// A row under a heading, its lines uncut. What is learned is green, or without `color` between
// SampleMarks.
std::vector<StyledLine> SampleLines(const ftd::v1::DataReport::Sample& sample, bool color,
                                    bool unicode);
std::pair<std::string, std::string> SampleMarks(bool unicode);

}  // namespace ftd

// What a dataset's rows are, once tokenised: what one looks at before training on them.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "lib/data/row_counts.h"
#include "nlohmann/json.hpp"

namespace ftd {

// How many rows are so long; both ends, in tokens, belong to it.
struct LengthBin {
  int64_t from = 0, to = 0, rows = 0;
  bool cut = false;  // they are longer than seq_length
  bool operator==(const LengthBin&) const = default;
};

// The lengths of the kept rows before the cut, in tokens.
struct RowLengths {
  int64_t median = 0, p90 = 0, p99 = 0;  // the least length that so many rows do not exceed
  // From the shortest row to the longest, without gaps. All are equally wide up to the 99th
  // percentile or seq_length; the rest is one bin on each side of seq_length. None holds both rows
  // that were cut and rows that were not.
  std::vector<LengthBin> bins;
};

// A row as training sees it.
struct RowSample {
  // A stretch of text that is learned, or not.
  struct Part {
    std::string text;
    bool learned = false;
  };
  int64_t row = 0;  // of those read, from 1
  int64_t tokens = 0, labels = 0;
  std::vector<Part> parts;
  // "…" stands for text in the middle of long parts; the last parts may be missing.
  bool shortened = false;
};

struct RowReport {
  RowCounts counts;
  int64_t skipped_rows = 0;  // were bad
  std::vector<std::string> skipped_reasons;
  // Kept rows whose tokens and labels are those of an earlier one, by 64-bit hashes of them.
  int64_t duplicates = 0;
  RowLengths lengths;
  std::vector<RowSample> samples;  // the first rows that were kept
};

// For a file; text that is not UTF-8 may be in it. FromJson throws json::exception when it is not
// what ToJson makes.
nlohmann::json RowReportToJson(const RowReport& report);
RowReport RowReportFromJson(const nlohmann::json& json);

}  // namespace ftd

// A look at the beginning of a dataset, quick enough for whoever waits for an answer.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "absl/time/time.h"
#include "lib/data/dataset_reader.h"

namespace ftd {

// Reads the first rows as training will: at most `most_rows`, and fewer if `most_time` is over
// sooner. Without `open_columnar` only the marks of a Parquet or Arrow file are looked at. Files
// that are not there yet are passed over. Errors: those of DatasetReader::Next.
absl::Status JudgeFirstRows(DatasetOptions options, int64_t most_rows, absl::Duration most_time);

}  // namespace ftd

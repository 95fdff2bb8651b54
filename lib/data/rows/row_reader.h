// Reads the rows of one dataset file, one at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/data/rows/row.h"

namespace ftd {

// A longer row is taken for a damaged file: it would have to be held in memory whole.
inline constexpr int64_t kMaxRowBytes = int64_t{64} << 20;

// Not thread-safe. Memory is bounded by the longest row, or by one batch of a columnar file.
class RowReader {
 public:
  virtual ~RowReader() = default;

  // Reads the next row into *row; false when there is none. A row that is bad in itself comes with
  // its `problem`. An error means that the file cannot be read further; its message names the file.
  virtual absl::StatusOr<bool> Next(Row* row) = 0;

  // Bytes of the file that have been read so far, for progress.
  virtual int64_t consumed_bytes() const = 0;
};

// Opens a Parquet or Arrow file; `nested_columns` are those whose cells of kind kNested keep their
// text. The one implementation (arrow_rows.h) is handed in by who links
// it, so that programs that read no rows do without Arrow's libraries; nullptr where it is not in
// the build.
using OpenColumnarRows = absl::StatusOr<std::unique_ptr<RowReader>> (*)(
    const std::filesystem::path& path, const std::string& name,
    const std::vector<std::string>& nested_columns);

}  // namespace ftd

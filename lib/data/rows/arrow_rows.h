// Rows of Parquet files and of Arrow IPC files and streams, through Arrow C++.
#pragma once

#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "lib/data/rows/row_reader.h"

namespace ftd {

// The kind of file shows in its first bytes. One batch of rows is in memory at a time. Messages
// name rows by number. arrow_cell.h says what becomes of a column of each type; the lists, structs
// and maps of `nested_columns` keep their text. INVALID_ARGUMENT DATASET_INVALID for a damaged
// file, naming it.
absl::StatusOr<std::unique_ptr<RowReader>> OpenArrowRows(
    const std::filesystem::path& path, const std::string& name,
    const std::vector<std::string>& nested_columns);

}  // namespace ftd

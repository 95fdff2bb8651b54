// Rows of a JSON Lines file, or of a JSON array of objects.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "lib/data/rows/byte_stream.h"
#include "lib/data/rows/row_reader.h"

namespace ftd {

// The first byte that is not blank shows which of the two it is. Messages name lines by line, rows
// of an array by row; blank lines are passed over. In a file of lines, one that is not JSON is a
// bad row; in an array it is not known where the next row begins, so it ends the reading. The lists
// and objects of `nested_columns` keep their text.
std::unique_ptr<RowReader> OpenJsonRows(std::unique_ptr<ByteStream> stream, std::string name,
                                        std::vector<std::string> nested_columns);

}  // namespace ftd

// Rows of a JSON Lines file, or of a JSON array of objects.
#pragma once

#include <memory>
#include <string>

#include "lib/data/rows/byte_stream.h"
#include "lib/data/rows/row_reader.h"

namespace ftd {

// Which of the two it is shows in the first byte that is not blank. Lines are told by line, rows of
// an array by row; blank lines are passed over. In a file of lines, one that is no JSON is a bad
// row; in an array nobody can tell where the next row begins, so it ends the reading.
std::unique_ptr<RowReader> OpenJsonRows(std::unique_ptr<ByteStream> stream, std::string name);

}  // namespace ftd

// Rows of a CSV or TSV file with a header line.
#pragma once

#include <memory>
#include <string>

#include "lib/data/rows/byte_stream.h"
#include "lib/data/rows/row_reader.h"

namespace ftd {

// RFC 4180 with what pandas (and so Hugging Face's datasets) reads beyond it: lines end in LF, CRLF
// or CR; blank lines are passed over; a quote within an unquoted field is a character; text after a
// closing quote belongs to the field; missing fields at a line's end are null. Unlike pandas every
// field is text: "007", "NA" and "" stay what they are, because a training text may well be so.
// Messages name a row by the line that it begins on. A row with more fields than the header, or
// that is not UTF-8, is bad; a quote that is never closed ends the reading.
std::unique_ptr<RowReader> OpenCsvRows(std::unique_ptr<ByteStream> stream, std::string name,
                                       char delimiter);

}  // namespace ftd

// JSON text as the value of a cell or of a part of one.
#pragma once

#include <string_view>

#include "lib/data/rows/json_writer.h"
#include "lib/data/rows/row.h"

namespace ftd {

// Returns the value that `json` stands for as a cell without a name: `"a"` is the text a. A list or
// an object has a text only if `keep_nested` is set; it is not looked at otherwise. What is not
// JSON has kind kOther.
Cell JsonCell(std::string_view json, bool keep_nested);

// Copies the value that `json` is without its blanks. Returns false if it is not JSON; what has
// been written until then is of no use.
bool CopyJson(std::string_view json, JsonWriter* out);

}  // namespace ftd

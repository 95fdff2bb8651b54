// One value of an Arrow array as a cell.
#pragma once

#include <arrow/type_fwd.h>

#include <cstdint>

#include "absl/status/statusor.h"
#include "lib/data/rows/row.h"

namespace ftd {

// Returns array[i] as a cell without a name. Strings (also large, viewed or in a dictionary) and
// whole numbers are what they are. Lists, structs and maps with keys of strings are of kind
// kNested; their text, if `keep_nested` is set, holds strings, numbers, truth values and nulls.
// Where it would have to hold anything else, such as bytes, a time or NaN, the kind is kOther. A
// value of Arrow's type for JSON is the value that its text stands for.
//
// Members of structs and maps that are null are left out, for Arrow gives every struct of a column
// the members of all; in a list a null stays. TRL's remove_none_values gives the same. Nulls within
// JSON text have been written on purpose and stay.
//
// INVALID_ARGUMENT DATASET_INVALID: the text is too long or not UTF-8. The message continues a
// column's name.
absl::StatusOr<Cell> ArrowCell(const arrow::Array& array, int64_t i, bool keep_nested);

}  // namespace ftd

// One JSON object as a row.
#pragma once

#include <cstddef>
#include <optional>
#include <span>
#include <string>
#include <string_view>

#include "lib/data/rows/row.h"

namespace ftd {

// Fills row->cells with the members of `json`, which must be one object. A member that is a list or
// an object keeps its text if its name is among `nested_columns` and is passed over else, so memory
// is at most that of `json`. Deep nesting costs no stack. What is wrong becomes row->problem; when
// it is about JSON itself, the byte position (from 1) is returned, else nullopt.
std::optional<size_t> ParseJsonRow(std::string_view json,
                                   std::span<const std::string> nested_columns, Row* row);

}  // namespace ftd

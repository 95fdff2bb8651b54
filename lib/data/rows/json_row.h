// One JSON object as a row.
#pragma once

#include <cstddef>
#include <optional>
#include <string_view>

#include "lib/data/rows/row.h"

namespace ftd {

// Fills row->cells with the members of `json`, which must be one object; what is nested within a
// member is passed over, so memory is that of its strings. What is wrong becomes row->problem; when
// it is about JSON itself, the byte position (from 1) is returned, else nullopt.
std::optional<size_t> ParseJsonRow(std::string_view json, Row* row);

}  // namespace ftd

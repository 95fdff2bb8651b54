// YAML as JSON, where a job file holds what is JSON elsewhere.
#pragma once

#include "nlohmann/json.hpp"
#include "yaml-cpp/yaml.h"

namespace ftd {

// Returns what the node says. A scalar that is not quoted is a number, true, false or null where it
// reads so, else a text. Throws YAML::Exception for what is nested deeper than 32, or has more than
// 10,000 values, as aliases can make of a small file.
nlohmann::ordered_json JsonOf(const YAML::Node& node);

}  // namespace ftd

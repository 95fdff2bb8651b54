// The YAML in front of a repository's card, README.md.
#pragma once

#include <string>
#include <string_view>

namespace ftd::hub {

// Returns the YAML between the first line, "---", and the next such line; "" if there is none.
std::string FrontMatter(std::string_view readme);

}  // namespace ftd::hub

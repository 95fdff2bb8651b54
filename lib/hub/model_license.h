// What a model's card says of its license: the metadata that a model which is made of it passes on.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace ftd::hub {

struct License {
  std::vector<std::string> ids;  // "apache-2.0", "llama3.1", "other"; none: not known
  std::string name, link;        // of "other"; a link may be a path in the model's repository
};

// Reads it from README.md. What is not spelled as the hub spells it is left out.
License LicenseOfCard(std::string_view readme);

}  // namespace ftd::hub

#include "lib/hub/front_matter.h"

#include <algorithm>

namespace ftd::hub {

std::string FrontMatter(std::string_view readme) {
  const size_t begin = readme.find_first_not_of(" \t\r\n");
  if (begin == std::string_view::npos || !readme.substr(begin).starts_with("---")) return "";
  const size_t line = readme.find_first_of("\r\n", begin);
  if (line != begin + 3) return "";
  const size_t end = std::min(readme.find("\n---", line), readme.find("\r---", line));
  return end == std::string_view::npos ? "" : std::string(readme.substr(line, end - line + 1));
}

}  // namespace ftd::hub

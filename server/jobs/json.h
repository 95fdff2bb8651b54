// The little JSON that the daemon writes itself, by protobuf's own printer and parser.
#pragma once

#include <map>
#include <string>
#include <vector>

namespace ftd {

// An object of strings.
std::string StringsToJson(const std::map<std::string, std::string>& strings);
// The strings of an object; anything else is left out.
std::map<std::string, std::string> StringsFromJson(const std::string& json);

// addresses.json: where the daemon with process id `pid` serves.
std::string AddressesToJson(const std::vector<std::string>& listen, const std::string& metrics,
                            int64_t pid);

}  // namespace ftd

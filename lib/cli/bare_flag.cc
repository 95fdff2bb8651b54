#include "lib/cli/bare_flag.h"

#include <algorithm>

namespace ftd {

std::vector<std::string> WithBareValue(std::vector<std::string> args, const BareFlag& flag) {
  // "--gradient-checkpointing off" stays two words; alone, the flag becomes
  // "--gradient-checkpointing=on". After "--" nothing is a flag.
  for (size_t i = 0; i < args.size() && args[i] != "--"; ++i) {
    if (std::find(flag.names.begin(), flag.names.end(), args[i]) == flag.names.end()) continue;
    if (i + 1 < args.size() && flag.takes(args[i + 1])) {
      ++i;
    } else {
      args[i] += "=" + flag.value;
    }
  }
  return args;
}

}  // namespace ftd

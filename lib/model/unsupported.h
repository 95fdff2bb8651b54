// Model types that ftd does not train, and why, for the message that refuses them.
#pragma once

#include <string>
#include <string_view>

namespace ftd {

// Returns what a model of that type has and ftd lacks, with the nearest family that it trains:
// "it is a mixture of experts; the nearest type that ftd trains is qwen3". Of a type that is not
// known, the type whose name is nearest, if one is near, or else the types that ftd trains.
std::string WhyUnsupported(std::string_view model_type);

}  // namespace ftd

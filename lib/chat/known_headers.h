// Templates of which it is known where TRL lets a turn begin, when that is not after the header.
#pragma once

#include <optional>
#include <string_view>

namespace ftd::chat {

// TRL trains some templates by copies of its own, marked with {% generation %}. Where such a copy
// learns a part of the header, so does ftd, that a model trained by either is the same. Returns
// what of the header is not learned; nullopt for every other template.
std::optional<std::string_view> KnownHeader(std::string_view source);

}  // namespace ftd::chat

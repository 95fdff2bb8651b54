// results/latest: a link to the newest result, for people and scripts.
#pragma once

#include <string>
#include <string_view>

#include "server/host/state_dir.h"

namespace ftd {

// The link's name, which no job may have.
inline constexpr std::string_view kLatestResult = "latest";

// Points the link at results/`name`: whoever follows it gets the old result or the new one. That it
// cannot be done, for example because a directory has the name, is logged.
void PointLatestAt(const StateDir& state_dir, const std::string& name);

// Removes the link if what it points at is gone.
void DropBrokenLatest(const StateDir& state_dir);

}  // namespace ftd

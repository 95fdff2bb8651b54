// The views in which `watch` shows a job: a live screen on a terminal, lines elsewhere.
#pragma once

#include <memory>
#include <string>

#include "client/watch/follow.h"

namespace ftd {

// Returns the view that suits stdout. A screen view takes the terminal until it is destroyed, and
// leaves its last picture behind. `connection` must outlive it. `ctrl_c`: see RenderWatchScreen.
std::unique_ptr<JobView> MakeWatchView(Connection& connection, const std::string& ctrl_c = "");

// Follows the job in such a view, reports the outcome, and returns the exit code.
int WatchToEnd(Connection& connection, const ftd::v1::Job& job, Signals& signals);

}  // namespace ftd

// The live screen of `ftctl watch`, as text. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "client/watch/screen_parts.h"
#include "client/watch/watch_state.h"

namespace ftd {

// At most `rows` lines, each at most `columns` wide (colour codes take no room). What does not fit
// is left out, the least important first: the plot shrinks and goes, then the GPUs, then the notes
// at the end. `now` is seconds since 1970. `ctrl_c` says what Ctrl-C does; empty: the job
// continues.
std::vector<std::string> RenderWatchScreen(const WatchState& state, const Gpus& gpus,
                                           const ScreenStyle& style, double now,
                                           const std::string& ctrl_c = "");

}  // namespace ftd

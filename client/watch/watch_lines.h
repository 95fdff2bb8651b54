// `ftctl watch` into a pipe: one line per logging interval and per change.
#pragma once

#include <string>

#include "client/watch/watch_state.h"

namespace ftd {

// The line that `event` is worth, without its end, or "" when it is worth none. `state` has the
// event already. Pure.
//   step 10/60  loss 1.2345  grad_norm 0.83  lr 9.0e-05  412 tok/s  ETA 1m20s
//   state RUNNING  attempt 1
std::string WatchLine(const WatchState& state, const ftd::v1::WatchJobResponse& event);

}  // namespace ftd

// The screen of `ftctl top`, as text. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "client/watch/screen_parts.h"
#include "ftd/v1/fine_tuning.pb.h"

namespace ftd {

// At most `rows` lines, each at most `columns` wide (colour codes take no room): the device, the
// running job, the queue, what has ended, and `hint`. The queue is shortened where room is short,
// then the last parts go. `lost`: the snapshot is old, because the link to ftd is broken.
std::vector<std::string> RenderQueueScreen(const ftd::v1::WatchQueueResponse& queue, bool lost,
                                           const std::string& hint, const ScreenStyle& style);

}  // namespace ftd

// The files that an attempt needs from the hub, fetched before anything else.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "worker/run/control_server.h"
#include "worker/run/run_observer.h"

namespace ftd {

// Reads the hub token that the daemon left in `fd`, and closes it. Empty when there is none, or
// when `fd` is negative.
std::string TakeToken(int fd);

// Fetches the files that `sources_json` names and the cache lacks, telling `observer` of the bytes.
// OK, too, when `flags` ask to stop before it is done. Errors: those of hub::FetchSources.
absl::Status BringSources(const std::string& sources_json, const std::string& token,
                          const StopFlags& flags, RunObserver& observer);

}  // namespace ftd

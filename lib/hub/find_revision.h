// Finds the commit that a branch or tag of a repository stands for now.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/hub/transport/repo.h"
#include "lib/hub/transport/settings.h"

namespace ftd {

namespace hub {
// How long the hub may be silent while somebody waits for the answer to a submit.
inline constexpr absl::Duration kSubmitPatience = absl::Seconds(20);
}  // namespace hub

// Called with a problem that did not stop a search, such as a hub that cannot be reached.
using HubWarning = std::function<void(const std::string& message)>;

// Asks the hub, for somebody who waits for the answer; an empty `revision` is main. Offline, or
// when the hub does not answer, the cache gives the commit, and `files` is empty: what is there has
// to do. Errors: those of hub::GetRevision; FAILED_PRECONDITION HUB_OFFLINE.
absl::StatusOr<hub::RepoRevision> FindRevision(const hub::Settings& settings,
                                               const hub::RepoId& repo, std::string revision,
                                               const HubWarning& warn);

}  // namespace ftd

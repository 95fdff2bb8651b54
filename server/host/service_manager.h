// The service manager (systemd): ftd's reports to it by sd_notify(3), and the sockets that it
// passes (sd_listen_fds(3)). Without $NOTIFY_SOCKET and $LISTEN_FDS all of it does nothing.
//
// The variables stay in the environment, because ftd starts again in the same process at SIGHUP.
// Thread-safe.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "absl/time/time.h"
#include "lib/base/file.h"

namespace ftd {

// True when there is somebody to notify.
bool HasServiceManager();

// Serves. Ends a reload, too.
void NotifyReady();
// Loads its configuration again; NotifyReady follows, perhaps in the program's next life.
void NotifyReloading();
void NotifyStopping();
// One line for `systemctl status`.
void NotifyStatus(const std::string& status);
// Restarts the watchdog's clock.
void NotifyAlive();
// Start or stop takes longer: the service manager is to wait at least this much more from now on.
void NotifyNeedsTime(absl::Duration time);

// Within this time NotifyAlive must be called, again and again; zero: there is no watchdog.
absl::Duration WatchdogInterval();

// A listening unix socket that was passed.
struct PassedSocket {
  Fd socket;         // a duplicate, non-blocking; the passed one stays open for the next life
  std::string path;  // where it is bound; of an abstract one, '@' and its name
};

// Returns the number of passed sockets, whatever they are.
int PassedSocketCount();
// FAILED_PRECONDITION CONFIG_INVALID: one that is not a listening unix stream socket.
absl::StatusOr<std::vector<PassedSocket>> PassedSockets();
// Lets the passed sockets outlive execv. Requires: no other process is started before that.
void KeepPassedSockets();

}  // namespace ftd

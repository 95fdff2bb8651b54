// The daemon's files and addresses without any setting: systemd's directories, then XDG's.
#pragma once

#include <filesystem>
#include <string>

namespace ftd {

// An environment variable; empty when unset.
std::string EnvironmentValue(const char* name);

// $XDG_CONFIG_HOME/ftd/ftd.toml (or ~/.config/…) if it is there, else /etc/ftd/ftd.toml if that is,
// else empty.
std::filesystem::path DefaultConfigFile();
// $STATE_DIRECTORY, else $XDG_STATE_HOME/ftd, else ~/.local/state/ftd.
std::string DefaultStateDir();
// unix: and ftd.sock in $RUNTIME_DIRECTORY, else in $XDG_RUNTIME_DIR/ftd, else in /run/ftd.
std::string DefaultListen();
// ft-worker beside this program.
std::string DefaultWorker();

}  // namespace ftd

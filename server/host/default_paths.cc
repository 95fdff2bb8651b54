#include "server/host/default_paths.h"

#include <cstdlib>
#include <system_error>

namespace ftd {

namespace fs = std::filesystem;

std::string EnvironmentValue(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : value;
}

// The user's own file comes before the machine's; they are not merged.
fs::path DefaultConfigFile() {
  const std::string xdg = EnvironmentValue("XDG_CONFIG_HOME"), home = EnvironmentValue("HOME");
  fs::path user = (xdg.empty() ? fs::path(home) / ".config" : fs::path(xdg)) / "ftd" / "ftd.toml";
  std::error_code error;
  if (fs::exists(user, error)) return user;
  return fs::exists("/etc/ftd/ftd.toml", error) ? "/etc/ftd/ftd.toml" : fs::path();
}

// systemd's StateDirectory= sets the variable; without it, the XDG base directory specification.
std::string DefaultStateDir() {
  if (std::string dir = EnvironmentValue("STATE_DIRECTORY"); !dir.empty()) return dir;
  if (std::string xdg = EnvironmentValue("XDG_STATE_HOME"); !xdg.empty()) return xdg + "/ftd";
  return EnvironmentValue("HOME") + "/.local/state/ftd";
}

// systemd's RuntimeDirectory= for the service, the user's runtime directory for a daemon by hand.
std::string DefaultListen() {
  if (std::string dir = EnvironmentValue("RUNTIME_DIRECTORY"); !dir.empty()) {
    return "unix:" + dir + "/ftd.sock";
  }
  if (std::string xdg = EnvironmentValue("XDG_RUNTIME_DIR"); !xdg.empty()) {
    return "unix:" + xdg + "/ftd/ftd.sock";
  }
  return "unix:/run/ftd/ftd.sock";
}

std::string DefaultWorker() {
  std::error_code error;
  // Beside the program itself, wherever the package was unpacked.
  return (fs::read_symlink("/proc/self/exe", error).parent_path() / "ft-worker").string();
}

}  // namespace ftd

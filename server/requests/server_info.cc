#include "server/requests/server_info.h"

#include <sys/statvfs.h>

#include <cerrno>
#include <filesystem>

#include "lib/hub/transport/settings.h"
#include "server/host/build_info.h"

namespace ftd {
namespace {

// Returns the free bytes of the filesystem where `path` is, or would be made; -1 when that is not
// known.
int64_t FreeBytes(std::filesystem::path path) {
  struct statvfs space;
  while (statvfs(path.c_str(), &space) != 0) {
    if (errno != ENOENT || !path.has_relative_path()) return -1;
    path = path.parent_path();
  }
  return static_cast<int64_t>(space.f_bavail) * static_cast<int64_t>(space.f_frsize);
}

}  // namespace

v1::ServerInfo DescribeServer(const Options& options, const StateDir& state_dir,
                              const Device& device) {
  v1::ServerInfo info;
  info.set_version(kVersion);
  info.set_revision(kRevision);
  info.set_state_dir(state_dir.root());
  info.add_modes(v1::JobSpec::LORA);
  info.add_modes(v1::JobSpec::FULL);
  info.add_modes(v1::JobSpec::QLORA);
  info.set_device(device.Name());
  info.set_worker(options.worker);
  const hub::Settings hub = hub::SettingsFromEnvironment();
  info.set_cache_dir(hub.cache_dir.string());
  info.set_state_free_bytes(FreeBytes(state_dir.root()));
  info.set_cache_free_bytes(FreeBytes(hub.cache_dir));
  info.set_has_hub_token(!hub::FindToken(hub).empty());
  return info;
}

}  // namespace ftd

// NVIDIA's driver, as the kernel shows it.
#pragma once

#include <filesystem>
#include <string>

namespace ftd {

// Both are empty on a machine without the driver.
struct NvidiaDriver {
  std::string version;  // "580.95.05"; empty: none is loaded
  std::string gpus;     // their models, with commas between; may be empty in a container
};

// `root` is /proc/driver/nvidia. Nothing of the driver is loaded or called.
NvidiaDriver FindNvidiaDriver(const std::filesystem::path& root);

}  // namespace ftd

#include "lib/base/device_lock.h"

#include <fcntl.h>
#include <sys/file.h>

#include <fstream>
#include <set>
#include <string>

#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// Plain files in the place of a container's device nodes.
class DeviceLockTest : public testing::Test {
 protected:
  void Node(const std::string& name) { std::ofstream(dev() / name); }
  fs::path dev() const { return dir_.path() / "dev"; }
  std::set<std::string> Nodes() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(dev())) names.insert(entry.path().filename());
    return names;
  }
  void SetUp() override { fs::create_directory(dev()); }

  TempDir dir_;
};

TEST_F(DeviceLockTest, IsTheFirstGpuThatIsThere) {
  EXPECT_EQ(GpuLockFile(dev()), "");
  Node("nvidia3");
  EXPECT_EQ(GpuLockFile(dev()), "") << "without the driver's own node no GPU can be used";
  Node("nvidiactl");
  EXPECT_EQ(GpuLockFile(dev()), dev() / "nvidia3");
  Node("nvidia12");
  EXPECT_EQ(GpuLockFile(dev()), dev() / "nvidia3");
  EXPECT_EQ(Nodes(), (std::set<std::string>{"nvidia12", "nvidia3", "nvidiactl"}));
}

TEST_F(DeviceLockTest, ANodeIsLockedByOneAndNeverMade) {
  Node("nvidiactl");
  Node("nvidia3");
  const auto lock = LockFile(GpuLockFile(dev()), dev());
  ASSERT_OK(lock);
  const auto other = OpenFile(dev() / "nvidia3", O_RDWR);
  ASSERT_OK(other);
  EXPECT_NE(::flock(other->get(), LOCK_EX | LOCK_NB), 0);
  EXPECT_ERROR(LockFile(dev() / "nvidia0", dev()), absl::StatusCode::kNotFound, "", "nvidia0");
  EXPECT_ERROR(LockFile(dev() / ".." / "dev" / "nvidia0", dev()), absl::StatusCode::kNotFound, "",
               "nvidia0");
  EXPECT_EQ(Nodes(), (std::set<std::string>{"nvidia3", "nvidiactl"}));
}

TEST_F(DeviceLockTest, AFileElsewhereIsMade) {
  const fs::path path = dir_.path() / "device.lock", like_dev = dir_.path() / "devices.lock";
  {
    const auto lock = LockFile(path, dev());
    ASSERT_OK(lock);
    EXPECT_TRUE(fs::exists(path));
  }
  EXPECT_OK(LockFile(path, dev()));
  EXPECT_OK(LockFile(like_dev, dev()));
}

TEST_F(DeviceLockTest, NothingIsMadeBelowDev) {
  EXPECT_ERROR(LockFile("/dev/ftd-no-such-device"), absl::StatusCode::kNotFound, "",
               "no-such-device");
  EXPECT_FALSE(fs::exists("/dev/ftd-no-such-device"));
}

}  // namespace
}  // namespace ftd

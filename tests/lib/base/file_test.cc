#include "lib/base/file.h"

#include <fcntl.h>
#include <unistd.h>

#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

TEST(File, DescriptorsCloseOnExecAndOnDestruction) {
  const TempDir dir;
  auto opened = OpenFile(dir.Write("a", "x"), O_RDONLY);
  ASSERT_OK(opened);
  const int number = opened->get();
  EXPECT_EQ(::fcntl(number, F_GETFD) & FD_CLOEXEC, FD_CLOEXEC);
  Fd moved = *std::move(opened);
  EXPECT_EQ(moved.get(), number);
  moved.Reset();
  EXPECT_EQ(::fcntl(number, F_GETFD), -1);
}

TEST(File, AtomicWriteReplacesAndLeavesNothingBeside) {
  const TempDir dir;
  dir.Write("state", "old");
  EXPECT_OK(WriteFileAtomically(dir / "state", "new\0bytes"));
  EXPECT_EQ(*ReadFile(dir / "state"), "new");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir.path()), {}), 1);
}

TEST(File, AnAtomicWriteThatFailsKeepsTheOldBytes) {
  const TempDir dir;
  dir.Write("sub/state", "old");
  // A folder in the way of the rename: works as root, too, whom permissions do not stop.
  std::filesystem::create_directories(dir / "sub/taken/inner");
  EXPECT_FALSE(WriteFileAtomically(dir / "sub/taken", "new").ok());
  EXPECT_EQ(*ReadFile(dir / "sub/state"), "old");
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(dir / "sub"), {}), 2);
}

TEST(File, ErrorsNameThePath) {
  const TempDir dir;
  EXPECT_ERROR(ReadFile(dir / "missing"), absl::StatusCode::kNotFound, "", "missing");
  EXPECT_ERROR(MappedFile::Open(dir / "missing"), absl::StatusCode::kNotFound, "", "missing");
  EXPECT_FALSE(MappedFile::Open(dir.path()).ok());
  EXPECT_FALSE(RenameDurably(dir / "missing", dir / "b").ok());
}

TEST(File, MapsWholeFilesAndEmptyOnes) {
  const TempDir dir;
  auto mapped = MappedFile::Open(dir.Write("a", std::string("x\0y", 3)));
  ASSERT_OK(mapped);
  MappedFile moved = *std::move(mapped);
  EXPECT_EQ(moved.bytes(), std::string_view("x\0y", 3));
  auto empty = MappedFile::Open(dir.Write("empty", ""));
  ASSERT_OK(empty);
  EXPECT_EQ(empty->bytes(), "");
}

TEST(File, RenameIsSeen) {
  const TempDir dir;
  dir.Write("a", "x");
  EXPECT_OK(RenameDurably(dir / "a", dir / "b"));
  EXPECT_FALSE(std::filesystem::exists(dir / "a"));
  EXPECT_EQ(*ReadFile(dir / "b"), "x");
}

TEST(File, AFullDeviceIsDiskFull) {
  auto full = OpenFile("/dev/full", O_WRONLY);
  ASSERT_OK(full);
  EXPECT_ERROR(WriteAll(full->get(), "x", "/dev/full"), absl::StatusCode::kResourceExhausted,
               "DISK_FULL", "/dev/full");
}

}  // namespace
}  // namespace ftd

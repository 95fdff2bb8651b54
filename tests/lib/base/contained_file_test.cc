#include "lib/base/contained_file.h"

#include <sys/stat.h>

#include <filesystem>

#include "lib/base/error.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

TEST(ContainedFile, LinksStayInTheDirectory) {
  const TempDir temp;
  temp.Write("secret", "SECRET");
  temp.Write("model/config.json", "{}");
  temp.Write("model/templates/a.jinja", "A");
  const fs::path model = temp / "model";
  fs::create_symlink("config.json", model / "beside");
  fs::create_symlink(model / "config.json", model / "absolute");
  fs::create_symlink("../config.json", model / "templates/up");
  fs::create_symlink("../secret", model / "out");
  fs::create_symlink(temp / "secret", model / "absolute_out");
  fs::create_symlink("out", model / "twice");
  fs::create_directory_symlink("..", model / "parent");
  fs::create_symlink("nothing", model / "dangling");
  for (const char* name :
       {"config.json", "beside", "absolute", "templates/a.jinja", "templates/up"}) {
    EXPECT_OK(ReadContained(model, name)) << name;
  }
  EXPECT_EQ(*ReadContained(model, "beside"), "{}");
  for (const char* name : {"out", "absolute_out", "twice", "parent/secret", "../secret"}) {
    const auto text = ReadContained(model, name);
    EXPECT_EQ(ReasonOf(text.status()), Reason::kModelCorrupt) << name << ": " << text.status();
  }
  for (const char* name : {"dangling", "absent", "templates/absent"})
    EXPECT_TRUE(absl::IsNotFound(ReadContained(model, name).status())) << name;
}

TEST(ContainedFile, ASnapshotOfTheHubsCacheReachesItsBlobsAndNoOthers) {
  const TempDir temp;
  temp.Write("repo/blobs/1", "blob");
  temp.Write("other/blobs/1", "another's");
  const fs::path snapshot = temp / "repo/snapshots/commit";
  fs::create_directories(snapshot);
  fs::create_symlink("../../blobs/1", snapshot / "file");
  fs::create_symlink("../../../other/blobs/1", snapshot / "others");
  EXPECT_EQ(*ReadContained(snapshot, "file"), "blob");
  EXPECT_FALSE(ReadContained(snapshot, "others").ok());
  // The layout alone gives no right: blobs that is a link leads elsewhere.
  fs::remove_all(temp / "repo/blobs");
  fs::create_directory_symlink(temp / "other/blobs", temp / "repo/blobs");
  EXPECT_FALSE(ReadContained(snapshot, "file").ok());
}

// The daemon has judged the directory's real path; what a link puts in its place is another's.
TEST(ContainedFile, ADirectoryThatALinkReplacedIsRefused) {
  const TempDir temp;
  temp.Write("private/config.json", "SECRET");
  fs::create_directory_symlink(temp / "private", temp / "model");
  EXPECT_FALSE(ReadContained(temp / "model", "config.json").ok());
  EXPECT_EQ(*ReadContained(WithoutLinks(temp / "model"), "config.json"), "SECRET");
  EXPECT_EQ(WithoutLinks(temp / "model/"), temp / "private");
  EXPECT_EQ(WithoutLinks(temp / "model/not/there"), temp / "private/not/there");
}

TEST(ContainedFile, OnlyRegularFilesAreOpened) {
  const TempDir temp;
  ASSERT_EQ(::mkfifo((temp / "pipe").c_str(), 0600), 0);
  fs::create_symlink("/dev/zero", temp / "zero");
  fs::create_directory(temp / "folder");
  for (const char* name : {"pipe", "zero", "folder"})  // a pipe would wait for its writer
    EXPECT_EQ(ReasonOf(OpenContained(temp.path(), name).status()), Reason::kModelCorrupt) << name;
}

TEST(ContainedFile, LiesUnderComparesWholeParts) {
  EXPECT_TRUE(LiesUnder("/data/a", "/data"));
  EXPECT_TRUE(LiesUnder("/data", "/data"));
  EXPECT_FALSE(LiesUnder("/data2", "/data"));
  EXPECT_FALSE(LiesUnder("/", "/data"));
}

}  // namespace
}  // namespace ftd

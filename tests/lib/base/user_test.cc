#include "lib/base/user.h"

#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

#include <array>
#include <cstring>
#include <filesystem>
#include <vector>

#include "lib/base/error.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// Nobody here.
constexpr uid_t kStranger = 3999999;
constexpr gid_t kGroup = 3999998;

bool MayRead(const fs::path& path, const User& user) {
  const auto file = OpenRegularFile(path);
  EXPECT_OK(file);
  const absl::Status checked = CheckReadable(*file, user);
  EXPECT_TRUE(checked.ok() || ReasonOf(checked) == Reason::kNotOwner) << checked;
  return checked.ok();
}

TEST(User, NamesAndNumbers) {
  EXPECT_EQ(UserName(0), "root");
  EXPECT_EQ(UidNamed("root"), uid_t{0});
  EXPECT_EQ(UserName(kStranger), "3999999");
  EXPECT_EQ(UidNamed("3999999"), kStranger);
  EXPECT_EQ(UidNamed("token:root"), std::nullopt);
  EXPECT_EQ(UidNamed(""), std::nullopt);
  EXPECT_TRUE(IsMember(FindUser(0), "root"));
  EXPECT_FALSE(IsMember(FindUser(0), "no-such-group"));
  EXPECT_FALSE(IsMember(FindUser(kStranger), "root"));
}

TEST(User, ReadsWhatTheModesOfFileAndFoldersAllow) {
  const TempDir temp;
  temp.Write("folder/file", "x");
  const fs::path folder = temp / "folder", file = folder / "file";
  ::chmod(temp.path().c_str(), 0755);
  const User stranger{kStranger, {kGroup}}, owner{::getuid(), {}}, fellow{kStranger, {::getgid()}};
  struct Row {
    unsigned folder, file;
    bool owner, fellow, stranger;
  };
  for (const Row& row : {Row{0755, 0644, true, true, true}, Row{0755, 0640, true, true, false},
                         Row{0755, 0600, true, false, false}, Row{0711, 0644, true, true, true},
                         Row{0710, 0644, true, true, false}, Row{0700, 0644, true, false, false},
                         // A group that may not, for those in it, whatever others may.
                         Row{0755, 0604, true, false, true}}) {
    ::chmod(folder.c_str(), row.folder);
    ::chmod(file.c_str(), row.file);
    EXPECT_EQ(MayRead(file, owner), row.owner) << row.folder << " " << row.file;
    EXPECT_EQ(MayRead(file, fellow), row.fellow) << row.folder << " " << row.file;
    EXPECT_EQ(MayRead(file, stranger), row.stranger) << row.folder << " " << row.file;
    EXPECT_EQ(CheckReachable(folder, stranger).ok(), (row.folder & 1U) != 0) << row.folder;
    EXPECT_OK(CheckReachable(folder, User{0, {}}));
  }
}

TEST(User, ReadsWhatAnAccessControlListAllows) {
  struct Entry {
    uint16_t tag, permissions;
    uint32_t id;
  };
  const auto list = [](const std::vector<Entry>& entries) {
    std::string bytes("\2\0\0\0", 4);
    for (const Entry& entry : entries)
      bytes.append(reinterpret_cast<const char*>(&entry), sizeof entry);
    return bytes;
  };
  constexpr uint32_t kAny = 0xffffffff;
  const TempDir temp;
  const fs::path file = temp.Write("file", "x");
  ::chmod(temp.path().c_str(), 0755);
  const User stranger{kStranger, {kGroup}};
  struct Row {
    std::vector<Entry> entries;
    bool reads;
  };
  const std::vector<Row> rows = {
      {{{1, 6, kAny}, {2, 4, kStranger}, {4, 0, kAny}, {16, 4, kAny}, {32, 0, kAny}}, true},
      {{{1, 6, kAny}, {2, 4, kStranger}, {4, 0, kAny}, {16, 0, kAny}, {32, 4, kAny}}, false},
      {{{1, 6, kAny}, {2, 0, kStranger}, {4, 0, kAny}, {16, 4, kAny}, {32, 4, kAny}}, false},
      {{{1, 6, kAny}, {4, 0, kAny}, {8, 4, kGroup}, {16, 4, kAny}, {32, 0, kAny}}, true},
      {{{1, 6, kAny}, {4, 4, kAny}, {8, 0, kGroup}, {16, 4, kAny}, {32, 4, kAny}}, false}};
  for (size_t i = 0; i < rows.size(); ++i) {
    const std::string bytes = list(rows[i].entries);
    if (::setxattr(file.c_str(), "system.posix_acl_access", bytes.data(), bytes.size(), 0) != 0)
      GTEST_SKIP() << "no access-control lists here: " << std::strerror(errno);
    EXPECT_EQ(MayRead(file, stranger), rows[i].reads) << "row " << i;
  }
}

}  // namespace
}  // namespace ftd

// The order against `datasets` itself: tests/worker/data/formats_test.py.
#include "lib/data/dataset_files.h"

#include "lib/base/concat.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

using testing::ElementsAre;
constexpr auto kNotFound = absl::StatusCode::kNotFound;

class DatasetFilesTest : public testing::Test {
 protected:
  void Make(std::initializer_list<const char*> names) {
    for (const char* name : names) dir_.Write(name, "x");
  }
  absl::StatusOr<std::vector<std::string>> Find(const std::string& name) {
    FTD_ASSIGN_OR_RETURN(const auto files, FindDatasetFiles((dir_ / name).string()));
    std::vector<std::string> names;
    for (const LocalDatasetFile& file : files) {
      EXPECT_TRUE(std::filesystem::is_regular_file(file.path));
      names.push_back(file.name);
    }
    return names;
  }
  TempDir dir_;
};

TEST_F(DatasetFilesTest, AFileIsItself) {
  Make({"a.jsonl", "noextension", "x[1].csv", "a.txt"});
  EXPECT_THAT(*Find("a.jsonl"), ElementsAre("a.jsonl"));
  EXPECT_THAT(*Find("noextension"), ElementsAre("noextension"));
  EXPECT_THAT(*Find("x[1].csv"), ElementsAre("x[1].csv")) << "a name before a pattern";
  EXPECT_ERROR(Find("a.txt"), kInvalid, "DATASET_INVALID", "a.txt: .json, .jsonl, .csv, .tsv");
  EXPECT_ERROR(Find("b.jsonl"), kNotFound, "DATASET_NOT_FOUND", "b.jsonl does not exist");
}

TEST_F(DatasetFilesTest, DirectoriesToTheirBottomInTheOrderOfPaths) {
  Make({"d/b.jsonl", "d/a.jsonl.gz", "d/sub/c.json", "d/sub-x.jsonl", "d/.hidden.jsonl",
        "d/.git/x.jsonl", "d/__cache__/x.jsonl", "d/README.md", "d/dataset_infos.json",
        "d/state.json"});
  EXPECT_THAT(*Find("d"), ElementsAre("a.jsonl.gz", "b.jsonl", "sub-x.jsonl", "sub/c.json"));
  EXPECT_THAT(*Find("d/"), ElementsAre("a.jsonl.gz", "b.jsonl", "sub-x.jsonl", "sub/c.json"));
}

TEST_F(DatasetFilesTest, ADirectoryStandsForItsTrainSplit) {
  const struct {
    std::vector<const char*> files;
    std::vector<std::string> found;
  } kTable[] = {
      {{"train.csv", "test.csv", "valid.csv"}, {"train.csv"}},
      {{"train-00000-of-00002.csv", "train-00001-of-00002.csv", "test-00000-of-00001.csv"},
       {"train-00000-of-00002.csv", "train-00001-of-00002.csv"}},
      {{"my_train_1.csv", "my_eval_1.csv", "other.csv"}, {"my_train_1.csv"}},
      {{"train/a.csv", "test/a.csv"}, {"train/a.csv"}},
      {{"x/training-set/a.csv", "x/dev/a.csv"}, {"x/training-set/a.csv"}},
      {{"trains.csv", "latest.csv", "devil.csv"}, {"devil.csv", "latest.csv", "trains.csv"}},
      {{"train/a.csv", "train/test.csv"}, {"train/a.csv", "train/test.csv"}},
  };
  int number = 0;
  for (const auto& row : kTable) {
    const std::string dir = Concat("d", number++);
    for (const char* file : row.files) dir_.Write(Concat(dir, "/", file), "x");
    const auto found = Find(dir);
    ASSERT_OK(found);
    EXPECT_EQ(*found, row.found) << dir;
  }
  Make({"only/test.csv", "only/dev.csv"});
  EXPECT_ERROR(Find("only"), kInvalid, "DATASET_INVALID", "validation or test split");
  EXPECT_THAT(*Find("only/*.csv"), ElementsAre("dev.csv", "test.csv")) << "a glob is meant";
}

TEST_F(DatasetFilesTest, Globs) {
  Make({"a1.csv", "a2.csv", "b1.csv", "x/a3.csv", "x/y/a4.csv", ".a5.csv", "a6.txt", "x/z/b.json"});
  const struct {
    const char* pattern;
    std::vector<std::string> found;
  } kTable[] = {
      {"*.csv", {"a1.csv", "a2.csv", "b1.csv"}},
      {"a*", {"a1.csv", "a2.csv"}},
      {"a?.csv", {"a1.csv", "a2.csv"}},
      {"[ab]1.csv", {"a1.csv", "b1.csv"}},
      {"**/a*.csv", {"a1.csv", "a2.csv", "x/a3.csv", "x/y/a4.csv"}},
      {"x/**", {"a3.csv", "y/a4.csv"}},
      {"*/a3.csv", {"x/a3.csv"}},
      {".a*", {".a5.csv"}},
  };
  std::filesystem::remove(dir_ / "x/z/b.json");
  for (const auto& row : kTable) {
    const auto found = Find(row.pattern);
    ASSERT_OK(found);
    EXPECT_EQ(*found, row.found) << row.pattern;
  }
  EXPECT_ERROR(Find("*.jsonl"), kNotFound, "DATASET_NOT_FOUND", "holds no data files");
  EXPECT_ERROR(Find("*.txt"), kNotFound, "DATASET_NOT_FOUND", "holds no data files");
  EXPECT_ERROR(Find("x/../*.nothing"), kNotFound, "DATASET_NOT_FOUND", "holds no data files");
}

TEST_F(DatasetFilesTest, OneFormatAtATime) {
  Make({"d/a.csv", "d/b.jsonl"});
  EXPECT_ERROR(Find("d"), kInvalid, "DATASET_INVALID",
               "several formats, such as a.csv and b.jsonl");
  std::filesystem::create_directory(dir_ / "empty");
  EXPECT_ERROR(Find("empty"), kNotFound, "DATASET_NOT_FOUND", "holds no data files");
}

TEST_F(DatasetFilesTest, LinksToFoldersAreNotFollowedIntoCircles) {
  Make({"d/a.csv"});
  std::filesystem::create_directory_symlink(dir_ / "d", dir_ / "d/again");
  std::filesystem::create_symlink(dir_ / "d/a.csv", dir_ / "d/link.csv");
  EXPECT_THAT(*Find("d"), ElementsAre("a.csv", "link.csv"));
}

TEST(FormatOfName, ByExtension) {
  EXPECT_EQ(*FormatOfName("a.jsonl.zst"), DatasetFormat::kJson);
  EXPECT_EQ(*FormatOfName("a.ndjson"), DatasetFormat::kJson);
  EXPECT_EQ(*FormatOfName("a"), DatasetFormat::kJson);
  EXPECT_EQ(*FormatOfName(""), DatasetFormat::kJson);
  EXPECT_EQ(*FormatOfName("a.csv.gz"), DatasetFormat::kCsv);
  EXPECT_EQ(*FormatOfName("a.tsv"), DatasetFormat::kTsv);
  EXPECT_EQ(*FormatOfName("a.parquet"), DatasetFormat::kParquet);
  EXPECT_EQ(*FormatOfName("a.arrow"), DatasetFormat::kArrow);
  for (const char* name : {"a.txt", "a.zip", "a.xml.gz", "a.jsonl.bz2"})
    EXPECT_ERROR(FormatOfName(name), kInvalid, "DATASET_INVALID", name);
}

}  // namespace
}  // namespace ftd

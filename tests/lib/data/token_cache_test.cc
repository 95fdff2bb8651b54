#include "lib/data/token_cache.h"

#include <set>

#include "lib/base/concat.h"
#include "lib/base/file.h"
#include "tests/lib/data/model_dir.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

class TokenCacheTest : public testing::Test {
 protected:
  TokenCacheTest() : model_({{"tokenizer_config.json", {{"eos_token", "<eos>"}}}}) {
    encoder_ = *model_.Encoder();
    request_.encoder = &encoder_;
    request_.threads = 2;
    request_.progress = [this](int64_t, int64_t) { return ++asked_ > 0; };
    Rows("{\"text\":\"hello\"}\n{\"text\":\"hello w\"}\n", "1");
  }
  void Rows(std::string_view bytes, std::string sha256) {
    request_.dataset.files = {{dir_.Write("rows.jsonl", bytes), "rows.jsonl", std::move(sha256)}};
  }
  absl::StatusOr<TokenizedDataset> Get(int64_t max_bytes = 1 << 20) {
    asked_ = 0;
    return TokenCache(dir_ / "cache", max_bytes).Get(request_);
  }
  std::set<std::string> Stores() const {
    std::set<std::string> names;
    for (const auto& entry : fs::directory_iterator(dir_ / "cache")) {
      if (entry.is_directory()) names.insert(entry.path().filename());
    }
    return names;
  }

  ModelDir model_;
  TempDir dir_;
  RowEncoder encoder_;
  TokenCache::Request request_;
  int asked_ = 0;
};

TEST_F(TokenCacheTest, TheSecondTimeNothingIsRead) {
  const auto made = Get();
  ASSERT_OK(made);
  EXPECT_FALSE(made->was_cached);
  EXPECT_GT(asked_, 0);
  fs::remove(request_.dataset.files[0].path);
  const auto cached = Get();
  ASSERT_OK(cached);
  EXPECT_TRUE(cached->was_cached);
  EXPECT_EQ(asked_, 0);
  ASSERT_EQ(cached->rows->size(), 2);
  EXPECT_EQ(cached->rows->Read(1)->input_ids, made->rows->Read(1)->input_ids);
}

TEST_F(TokenCacheTest, WhatWasLeftOutIsRemembered) {
  Rows("{\"text\":\"hello\"}\noops\n{\"text\":\"w\"}\n", "2");
  request_.dataset.skip_bad_rows = 1;
  const auto longest = static_cast<int64_t>(encoder_.Encode({"hello"}).input_ids.size());
  encoder_.seq_length = static_cast<int32_t>(longest) - 1;
  for (const bool cached : {false, true}) {
    const auto dataset = Get();
    ASSERT_OK(dataset);
    EXPECT_EQ(dataset->was_cached, cached);
    EXPECT_EQ(dataset->report.skipped_rows, 1);
    const RowCounts& counts = dataset->report.counts;
    EXPECT_EQ(counts.kept, 2);
    EXPECT_EQ(counts.cut, 2);
    EXPECT_EQ(counts.longest, longest);
    ASSERT_EQ(dataset->report.lengths.bins.size(), 1u);
    EXPECT_EQ(dataset->report.lengths.bins[0], (LengthBin{longest, longest, 2, true}));
    ASSERT_EQ(dataset->report.skipped_reasons.size(), 1u);
    EXPECT_THAT(dataset->report.skipped_reasons[0],
                testing::StartsWith("rows.jsonl line 2: not JSON"));
  }
}

TEST_F(TokenCacheTest, EverythingThatTokensDependOnMakesAnotherKey) {
  std::set<std::string> keys = {TokenKey(request_, false)};
  const auto differs = [&](const char* what) {
    EXPECT_TRUE(keys.insert(TokenKey(request_, false)).second) << what;
  };
  request_.dataset.files[0].sha256 = "9";
  differs("bytes");
  request_.dataset.files.push_back(request_.dataset.files[0]);
  differs("files");
  request_.dataset.files[0].name = "rows.csv";
  differs("format");
  request_.dataset.limit = 1;
  differs("limit");
  request_.dataset.skip_bad_rows = 1;
  differs("skip_bad_rows");
  request_.dataset.rules.shape = RowShape::kAlpaca;
  differs("shape");
  request_.dataset.rules.columns["output"] = "answer";
  differs("columns");
  request_.dataset.rules.prompt_template = "{a}";
  differs("template");
  request_.dataset.rules.train_on = TrainOn::kCompletions;
  differs("train_on");
  const ModelDir other({{"tokenizer_config.json", {{"eos_token", "<eos>"}, {"pad_token", "he"}}}});
  encoder_.tokenizer = other.tokenizer.get();
  differs("tokenizer");
  encoder_.eos_token = "<bos>";
  differs("eos");
  encoder_.seq_length = 9;
  differs("seq_length");
  const std::string last = TokenKey(request_, false);
  request_.threads = 7;
  request_.dataset.files[0].path = "/elsewhere";
  EXPECT_EQ(TokenKey(request_, false), last) << "where and how fast does not matter";
}

TEST_F(TokenCacheTest, DamagedStoresAreBuiltAnew) {
  const auto store = dir_ / "cache" / TokenKey(request_, false);
  const auto overwrite = [&](const char* file) {
    std::string bytes = *ReadFile(store / file);
    bytes[bytes.size() / 2] ^= 1;
    std::ofstream(store / file, std::ios::binary) << bytes;
  };
  const std::function<void()> damages[] = {
      [&] { overwrite("ids.bin"); },
      [&] { overwrite("index.bin"); },
      [&] { overwrite("facts.json"); },
      [&] { overwrite("MANIFEST.json"); },
      [&] { fs::resize_file(store / "ids.bin", 3); },
      [&] { fs::remove(store / "index.bin"); },
      [&] { fs::remove(store / "MANIFEST.json"); },
      [&] {
        fs::remove_all(store);
        std::ofstream(store.string()) << "a file in its place";
      },
  };
  ASSERT_OK(Get());
  for (const auto& damage : damages) {
    damage();
    const auto dataset = Get();
    ASSERT_OK(dataset);
    EXPECT_FALSE(dataset->was_cached);
    EXPECT_EQ(dataset->rows->Read(1)->input_ids, encoder_.Encode({"hello w"}).input_ids);
    EXPECT_TRUE(Get()->was_cached);
  }
}

TEST_F(TokenCacheTest, FailuresAndCrashesLeaveNothing) {
  Rows("{\"text\":\"hello\"}\noops\n", "3");
  EXPECT_ERROR(Get(), absl::StatusCode::kInvalidArgument, "DATASET_INVALID", "line 2");
  EXPECT_THAT(Stores(), testing::IsEmpty());
  fs::create_directory(dir_ / "cache/.tmp-of-a-killed-worker");
  dir_.Write("cache/.tmp-of-a-killed-worker/ids.bin", "xxxx");
  Rows("{\"text\":\"hello\"}\n", "4");
  ASSERT_OK(Get());
  EXPECT_EQ(Stores(), std::set<std::string>{TokenKey(request_, false)});
}

TEST_F(TokenCacheTest, NothingToLearn) {
  encoder_.seq_length = 1;
  EXPECT_ERROR(Get(), absl::StatusCode::kInvalidArgument, "DATASET_INVALID",
               "rows.jsonl: no row has anything to learn");
}

TEST_F(TokenCacheTest, TheLeastUsedGoFirst) {
  std::vector<std::string> keys;
  const auto add = [&](const std::string& sha256, int64_t max_bytes) {
    Rows("{\"text\":\"hello\"}\n", sha256);
    ASSERT_OK(Get(max_bytes));
    keys.push_back(TokenKey(request_, false));
    // Times of last use that do not depend on the clock's grain.
    for (size_t i = 0; i < keys.size(); ++i) {
      std::error_code gone;
      fs::last_write_time(dir_ / "cache" / keys[i] / "MANIFEST.json",
                          fs::file_time_type() + std::chrono::hours(i + 1), gone);
    }
  };
  for (const char* sha256 : {"a", "b", "c"}) add(sha256, 1 << 20);
  EXPECT_EQ(Stores().size(), 3u);
  Rows("{\"text\":\"hello\"}\n", "a");
  ASSERT_OK(Get());  // used: now the newest
  Rows("{\"text\":\"hello\"}\n", "d");
  ASSERT_OK(Get(/*max_bytes=*/300));
  const std::string newest = TokenKey(request_, false);
  EXPECT_EQ(Stores().count(newest), 1u);
  EXPECT_EQ(Stores().count(keys[1]), 0u) << "the least used";
  Rows("{\"text\":\"hello\"}\n", "e");
  ASSERT_OK(Get(/*max_bytes=*/0));
  EXPECT_EQ(Stores(), std::set<std::string>{TokenKey(request_, false)})
      << "the newest always stays";
}

}  // namespace
}  // namespace ftd

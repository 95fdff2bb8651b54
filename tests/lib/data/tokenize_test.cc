#include "lib/data/tokenize.h"

#include "lib/base/concat.h"
#include "tests/lib/data/model_dir.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

using testing::ElementsAre;

class TokenizeTest : public testing::Test {
 protected:
  TokenizeTest() : model_({{"tokenizer_config.json", {{"eos_token", "<eos>"}}}}) {
    for (int i = 0; i < 3000; ++i) rows_ += Concat(R"({"text":"hello )", i, "\"}\n");
  }
  absl::StatusOr<RowTally> Tally(int threads, const std::function<bool()>& go_on) {
    std::filesystem::remove_all(dir_ / "store");
    std::filesystem::create_directory(dir_ / "store");
    DatasetReader reader({.files = {{dir_.Write(name_, rows_), name_, ""}},
                          .limit = limit_,
                          .skip_bad_rows = skip_bad_rows_});
    FTD_ASSIGN_OR_RETURN(const RowEncoder encoder, model_.Encoder(seq_length_));
    FTD_ASSIGN_OR_RETURN(TokenStoreWriter writer, TokenStoreWriter::Create(dir_ / "store"));
    auto tally = TokenizeRows(reader, encoder, threads, writer, go_on);
    EXPECT_OK(writer.Finish());
    return tally;
  }
  absl::StatusOr<RowCounts> Run(int threads, const std::function<bool()>& go_on) {
    FTD_ASSIGN_OR_RETURN(const RowTally tally, Tally(threads, go_on));
    return tally.counts();
  }

  ModelDir model_;
  TempDir dir_;
  std::string rows_;
  std::string name_ = "rows.jsonl";
  int32_t seq_length_ = 0;
  int64_t limit_ = 0, skip_bad_rows_ = 0;
};

TEST_F(TokenizeTest, KeepsOrderOnAnyNumberOfThreads) {
  const auto encoder = model_.Encoder();
  for (const int threads : {0, 1, 3, 16}) {
    ASSERT_OK(Run(threads, [] { return true; }));
    const auto store = TokenStore::Open(dir_ / "store");
    ASSERT_OK(store);
    ASSERT_EQ((*store)->size(), 3000);
    for (int64_t i = 0; i < (*store)->size(); ++i) {
      const TokenizedRow expected = encoder->Encode({Concat("hello ", i)});
      const auto row = (*store)->Read(i);
      ASSERT_EQ(row->input_ids, expected.input_ids);
      ASSERT_EQ(row->labels, expected.labels);
    }
  }
}

TEST_F(TokenizeTest, StopsWhenAsked) {
  int calls = 0;
  EXPECT_EQ(Run(2, [&] { return ++calls < 4; }).status().code(), absl::StatusCode::kCancelled);
}

TEST_F(TokenizeTest, BadRowsCountInTheirOrderAndNotTowardsTheLimit) {
  rows_.clear();
  for (int i = 0; i < 3000; ++i)
    rows_ += i % 3 == 1 ? "oops\n" : Concat("{\"text\":\"", i, "\"}\n");
  limit_ = 1500;
  const auto encoder = model_.Encoder();
  for (const int threads : {1, 3}) {
    skip_bad_rows_ = 750;  // of which 749 come before the 1500th good row
    ASSERT_OK(Run(threads, [] { return true; }));
    const auto store = TokenStore::Open(dir_ / "store");
    ASSERT_OK(store);
    ASSERT_EQ((*store)->size(), 1500);
    EXPECT_EQ((*store)->Read(1499)->input_ids, encoder->Encode({"2249"}).input_ids);
    skip_bad_rows_ = 600;
    const auto failed = Run(threads, [] { return true; });
    EXPECT_ERROR(failed, absl::StatusCode::kInvalidArgument, "DATASET_INVALID",
                 "rows.jsonl line 1802: not JSON");
    EXPECT_THAT(std::string(failed.status().message()),
                testing::HasSubstr("; 600 bad rows before it were skipped"));
  }
}

TEST_F(TokenizeTest, AFilesEndIsReportedAfterTheRowsBeforeIt) {
  name_ = "rows.json";
  rows_ = R"([{"text":"hello"},{"text":7},{"text":"w")";
  EXPECT_ERROR(Run(2, [] { return true; }), absl::StatusCode::kInvalidArgument, "DATASET_INVALID",
               "row 2");
  skip_bad_rows_ = 1;
  EXPECT_ERROR(Run(2, [] { return true; }), absl::StatusCode::kInvalidArgument, "DATASET_INVALID",
               "rows.json");
}

TEST_F(TokenizeTest, ErrorsOfTheReaderEndTheWork) {
  rows_ += "oops\n";
  EXPECT_ERROR(Run(2, [] { return true; }), absl::StatusCode::kInvalidArgument, "DATASET_INVALID",
               "rows.jsonl line 3001: not JSON");
}

std::vector<int64_t> Became(const RowCounts& counts) {
  return {counts.kept,  counts.dropped, counts.dropped_by_cut, counts.cut, counts.lost_completion,
          counts.empty, counts.longest};
}

TEST_F(TokenizeTest, CountsWhatBecameOfTheRows) {
  const auto encoder = model_.Encoder();
  const auto tokens = [&](const Example& example) {
    return static_cast<int64_t>(encoder->Encode(example).input_ids.size());
  };
  const std::string prompt = "hello hello hello hello hello";
  rows_ = R"({"text":"hello"})"
          "\n"
          R"({"text":""})"
          "\n"
          R"({"text":" \n"})"
          "\n";
  for (const char* completion : {"w", "", "hello hello hello"})
    rows_ += Concat(R"({"prompt":")", prompt, R"(","completion":")", completion, "\"}\n");
  const int64_t longest = tokens({prompt + "hello hello hello"});
  int64_t all_tokens = tokens({"hello"}) + tokens({""}) + tokens({" \n"});
  for (const char* completion : {"w", "", "hello hello hello"})
    all_tokens += tokens({prompt + completion});
  auto counts = Run(2, [] { return true; });
  ASSERT_OK(counts);
  EXPECT_THAT(Became(*counts), ElementsAre(6, 0, 0, 0, 0, 3, longest));
  EXPECT_EQ(counts->tokens, all_tokens);
  // The prompt alone fills it.
  seq_length_ = static_cast<int32_t>(tokens({prompt})) - 1;
  counts = Run(2, [] { return true; });
  ASSERT_OK(counts);
  EXPECT_THAT(Became(*counts), ElementsAre(3, 3, 3, 3, 3, 3, longest));
  EXPECT_EQ(counts->cut_tokens, 0) << "of the kept rows";
  // All but the longest completion fits.
  seq_length_ = static_cast<int32_t>(longest) - 1;
  counts = Run(2, [] { return true; });
  ASSERT_OK(counts);
  EXPECT_THAT(Became(*counts), ElementsAre(6, 0, 0, 1, 0, 3, longest));
  EXPECT_EQ(counts->cut_tokens, 1);
  EXPECT_EQ(counts->tokens, all_tokens - 1);
  seq_length_ = 1;  // BOS alone
  counts = Run(2, [] { return true; });
  ASSERT_OK(counts);
  EXPECT_EQ(counts->dropped, 6);
}

// An Alpaca row learns its prompt as well, so it is kept without its answer.
TEST_F(TokenizeTest, AKeptRowMayHaveLostItsCompletion) {
  rows_ = R"({"instruction":"hello","output":"hello"})"
          "\n";
  seq_length_ = 9;
  const auto counts = Run(1, [] { return true; });
  ASSERT_OK(counts);
  EXPECT_EQ(counts->lost_completion, 1);
  EXPECT_EQ(counts->dropped, 0);
}

}  // namespace
}  // namespace ftd

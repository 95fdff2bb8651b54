#include "lib/data/row_tally.h"

#include "lib/base/concat.h"
#include "tests/lib/data/model_dir.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

using testing::ElementsAre;

std::map<int64_t, int64_t> Uniform(int64_t from, int64_t to) {
  std::map<int64_t, int64_t> rows;
  for (int64_t length = from; length <= to; ++length) rows[length] = 1;
  return rows;
}

TEST(LengthsOf, PercentilesAreTheLeastLengthThatSoManyRowsDoNotExceed) {
  const RowLengths lengths = LengthsOf(Uniform(1, 200), 0);
  EXPECT_EQ(lengths.median, 100);
  EXPECT_EQ(lengths.p90, 180);
  EXPECT_EQ(lengths.p99, 198);
  EXPECT_EQ(LengthsOf({{7, 1}}, 0).median, 7);
  EXPECT_EQ(LengthsOf({{7, 1}, {9, 1}}, 0).median, 7);
  EXPECT_EQ(LengthsOf({{7, 1}, {9, 1}}, 0).p90, 9);
}

TEST(LengthsOf, BinsAreRoundAndEquallyWide) {
  EXPECT_THAT(LengthsOf(Uniform(3, 100), 0).bins,
              ElementsAre(LengthBin{0, 9, 7}, LengthBin{10, 19, 10}, LengthBin{20, 29, 10},
                          LengthBin{30, 39, 10}, LengthBin{40, 49, 10}, LengthBin{50, 59, 10},
                          LengthBin{60, 69, 10}, LengthBin{70, 79, 10}, LengthBin{80, 89, 10},
                          LengthBin{90, 99, 10}, LengthBin{100, 109, 1}));
  EXPECT_THAT(LengthsOf({{1000, 4}}, 0).bins, ElementsAre(LengthBin{1000, 1000, 4}));
}

TEST(LengthsOf, NoBinHoldsBothCutRowsAndOthers) {
  EXPECT_THAT(LengthsOf({{4, 5}, {25, 2}, {26, 3}}, 25).bins,
              ElementsAre(LengthBin{4, 5, 5}, LengthBin{6, 7, 0}, LengthBin{8, 9, 0},
                          LengthBin{10, 11, 0}, LengthBin{12, 13, 0}, LengthBin{14, 15, 0},
                          LengthBin{16, 17, 0}, LengthBin{18, 19, 0}, LengthBin{20, 21, 0},
                          LengthBin{22, 23, 0}, LengthBin{24, 25, 2}, LengthBin{26, 26, 3, true}));
  // All are cut.
  EXPECT_THAT(LengthsOf({{30, 5}, {90, 1}}, 25).bins, ElementsAre(LengthBin{30, 90, 6, true}));
}

TEST(LengthsOf, AFewLongRowsDoNotHideTheOthers) {
  auto rows = Uniform(1, 12);
  for (auto& [length, count] : rows) count = 100;
  rows[70000] = 1;
  rows[300000] = 2;
  const auto bins = LengthsOf(rows, 100000).bins;
  ASSERT_EQ(bins.size(), 14u);
  EXPECT_EQ(bins[0], (LengthBin{1, 1, 100}));
  EXPECT_EQ(bins[11], (LengthBin{12, 12, 100}));
  EXPECT_EQ(bins[12], (LengthBin{13, 100000, 1}));
  EXPECT_EQ(bins[13], (LengthBin{100001, 300000, 2, true}));
}

class RowTallyTest : public testing::Test {
 protected:
  RowTallyTest() : model_({{"tokenizer_config.json", {{"eos_token", "<eos>"}}}}) {
    encoder_ = *model_.Encoder();
  }
  void Add(RowTally& tally, const std::string& text) {
    const Example example{text};
    const EncodedRow row = encoder_.Encode(example);
    tally.Add(example, row, /*kept=*/CountLabels(row) > 0);
  }

  ModelDir model_;
  RowEncoder encoder_;
};

TEST_F(RowTallyTest, BatchesAddUp) {
  const std::vector<std::string> texts = {"hello", "w", "hello", "hello w", "w", "hello"};
  RowTally whole, merged;
  for (const std::string& text : texts) Add(whole, text);
  for (size_t i = 0; i < texts.size(); i += 2) {
    RowTally batch(merged.samples_missing());
    Add(batch, texts[i]);
    Add(batch, texts[i + 1]);
    merged.Merge(batch);
  }
  EXPECT_EQ(RowReportToJson(merged.Report(encoder_)), RowReportToJson(whole.Report(encoder_)));
  const RowReport report = whole.Report(encoder_);
  EXPECT_EQ(report.duplicates, 3);
  EXPECT_EQ(report.counts.kept, 6);
  ASSERT_EQ(report.samples.size(), 3u);
  EXPECT_EQ(report.samples[2].row, 3);
  EXPECT_EQ(report.samples[0].tokens, 3);  // <bos>, hello, <eos>
  EXPECT_EQ(report.samples[0].labels, 2);
}

TEST_F(RowTallyTest, AReportSurvivesItsFile) {
  RowTally tally;
  for (const char* text : {"hello", "w"}) Add(tally, text);
  RowReport report = tally.Report(encoder_);
  report.skipped_rows = 2;
  report.skipped_reasons = {"line 3: not JSON"};
  const nlohmann::json json = RowReportToJson(report);
  EXPECT_EQ(RowReportToJson(RowReportFromJson(json)), json);
  EXPECT_EQ(RowReportFromJson(json).counts, report.counts);
}

TEST_F(RowTallyTest, PartsAreWhatIsLearnedAndWhatIsNot) {
  const std::string text = "hello w é!";
  TokenizedRow row;
  row.input_ids = encoder_.tokenizer->Encode(text, false);
  row.labels.assign(row.input_ids.size(), kIgnoreLabel);
  ASSERT_EQ(row.input_ids.size(), 6u);  // hello, " w", " ", two bytes of é, !
  row.labels[1] = row.labels[5] = 1;
  bool shortened = true;
  const auto parts = PartsOf(row, *encoder_.tokenizer, &shortened);
  ASSERT_EQ(parts.size(), 4u);
  EXPECT_EQ(parts[0].text, "hello");
  EXPECT_EQ(parts[1].text, " w");
  EXPECT_TRUE(parts[1].learned);
  EXPECT_EQ(parts[2].text, " é");
  EXPECT_EQ(parts[3].text, "!");
  EXPECT_FALSE(shortened);
}

TEST_F(RowTallyTest, LongRowsAreShortened) {
  TokenizedRow row;
  row.input_ids.assign(1000, 'a');
  row.input_ids.back() = 'z';
  row.labels.assign(1000, 1);
  bool shortened = false;
  auto parts = PartsOf(row, *encoder_.tokenizer, &shortened);
  ASSERT_EQ(parts.size(), 1u);
  EXPECT_EQ(parts[0].text, Concat(std::string(150, 'a'), " … ", std::string(149, 'a'), "z"));
  EXPECT_TRUE(shortened);
  for (size_t i = 0; i < 1000; i += 2) row.labels[i] = kIgnoreLabel;
  shortened = false;
  parts = PartsOf(row, *encoder_.tokenizer, &shortened);
  EXPECT_EQ(parts.size(), 40u);
  EXPECT_TRUE(shortened);
}

}  // namespace
}  // namespace ftd

#include "lib/runlog/step_log.h"

#include <zlib.h>

#include <cstring>
#include <tuple>

#include "lib/base/file.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

StepRow Row(int64_t step, double loss) {
  StepRow row;
  row.step = step;
  row.loss = loss;
  row.tokens_total = step * 100;
  return row;
}

// Writes a log of rows `first` to `last`, all with `loss`.
std::filesystem::path Log(const TempDir& dir, const char* name, int64_t first, int64_t last,
                          double loss) {
  auto log = StepLogWriter::Create(dir / name, first, 50);
  EXPECT_OK(log);
  for (int64_t step = first; step <= last; ++step) EXPECT_OK(log->Append(Row(step, loss)));
  EXPECT_OK(log->Sync());
  return dir / name;
}

std::vector<std::pair<int64_t, double>> StepsAndLosses(const std::vector<StepRow>& rows) {
  std::vector<std::pair<int64_t, double>> pairs;
  pairs.reserve(rows.size());
  for (const StepRow& row : rows) pairs.emplace_back(row.step, row.loss);
  return pairs;
}

TEST(StepLog, ReadsBackRowsAndHeader) {
  const TempDir dir;
  const auto path = Log(dir, "steps.log", 1, 1200, 2.5);
  const auto rows = ReadStepRows(path);
  ASSERT_OK(rows);
  ASSERT_EQ(rows->size(), 1200u);
  EXPECT_EQ(rows->back().step, 1200);
  EXPECT_EQ(rows->back().loss, 2.5);
  EXPECT_EQ(rows->back().tokens_total, 120000);
  EXPECT_EQ(ReadStepRows(path, 1190, 4)->front().step, 1191);
  EXPECT_EQ(ReadStepRows(path, 1190, 4)->size(), 4u);
  EXPECT_TRUE(ReadStepRows(path, 1200)->empty());
  const auto info = ReadStepLogInfo(path);
  EXPECT_EQ(info->first_step, 1);
  EXPECT_EQ(info->steps_planned, 50);
}

// A row as the first workers wrote it: thirteen numbers, zeros, CRC-32 (zlib's) of what is before
// it.
TEST(StepLog, RowsOfOlderWorkersLackWhatTheyDidNotMeasure) {
  const TempDir dir;
  std::string bytes = ReadFile(Log(dir, "steps.log", 1, 1, 2.5))->substr(0, 64);
  const double numbers[] = {2.5, 3.5};
  std::string row(128, '\0');
  row[0] = 1;                                      // step
  std::memcpy(&row[16], numbers, sizeof numbers);  // loss, grad_norm
  const uint32_t crc = ::crc32(0, reinterpret_cast<const Bytef*>(row.data()), 124);
  std::memcpy(&row[124], &crc, sizeof crc);
  const auto rows = ReadStepRows(dir.Write("old", bytes + row));
  ASSERT_OK(rows);
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(rows->front().grad_norm, 3.5);
  EXPECT_EQ(rows->front().entropy, 0);
  EXPECT_EQ(rows->front().mean_token_accuracy, 0);
  EXPECT_EQ(rows->front().mfu, 0);
}

auto Fields(const StepRow& r) {
  return std::make_tuple(r.step, r.epoch, r.loss, r.grad_norm, r.learning_rate, r.tokens,
                         r.tokens_total, r.padding_ratio, r.tokens_per_second, r.step_seconds,
                         r.data_wait_seconds, r.samples, r.time_unix_micros, r.entropy,
                         r.mean_token_accuracy, r.mfu);
}

TEST(StepLog, KeepsEachNumber) {
  const TempDir dir;
  auto log = StepLogWriter::Create(dir / "steps.log", 7, 10);
  ASSERT_OK(log);
  const StepRow row = {.step = 7,
                       .epoch = 0.1,
                       .loss = 2.3,
                       .grad_norm = 0.7,
                       .learning_rate = 1e-4,
                       .tokens = 123,
                       .tokens_total = 1LL << 40,
                       .padding_ratio = 0.3,
                       .tokens_per_second = 456.7,
                       .step_seconds = 0.27,
                       .data_wait_seconds = 0.001,
                       .samples = 4,
                       .time_unix_micros = 1790000000000001,
                       .entropy = 1.9,
                       .mean_token_accuracy = 0.51,
                       .mfu = 0.4375};
  ASSERT_OK(log->Append(row));
  const auto rows = ReadStepRows(dir / "steps.log");
  ASSERT_OK(rows);
  ASSERT_EQ(rows->size(), 1u);
  EXPECT_EQ(Fields(rows->front()), Fields(row));
}

TEST(StepLog, TheHeartbeatIsSeenAtOnce) {
  const TempDir dir;
  auto log = StepLogWriter::Create(dir / "steps.log", 1, 10);
  ASSERT_OK(log);
  const uint64_t before = ReadStepLogInfo(dir / "steps.log")->heartbeat;
  log->Beat();
  StepLogWriter moved = *std::move(log);
  moved.Beat();
  EXPECT_EQ(ReadStepLogInfo(dir / "steps.log")->heartbeat, before + 2);
}

TEST(StepLog, NoFileAndNoStepLog) {
  const TempDir dir;
  EXPECT_TRUE(ReadStepRows(dir / "missing")->empty());
  EXPECT_EQ(ReadStepLogInfo(dir / "missing").status().code(), absl::StatusCode::kNotFound);
  const auto other = dir.Write("other", std::string(500, 'x'));
  EXPECT_EQ(ReadStepLogInfo(other).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadStepRows(other).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(ReadStepRows(dir.Write("young", "short"))->empty());
}

TEST(StepLog, ATornOrDamagedRowEndsTheLog) {
  const TempDir dir;
  const std::string bytes = *ReadFile(Log(dir, "steps.log", 1, 3, 1));
  ASSERT_EQ(bytes.size(), 64u + 3 * 128);
  for (size_t cut = 64 + 128; cut < 64 + 2 * 128; cut += 9) {
    EXPECT_EQ(ReadStepRows(dir.Write("cut", bytes.substr(0, cut)))->size(), 1u) << cut;
  }
  for (size_t i = 64 + 128; i < 64 + 2 * 128; i += 5) {
    std::string damaged = bytes;
    damaged[i] ^= 1;
    EXPECT_EQ(ReadStepRows(dir.Write("damaged", damaged))->size(), 1u) << i;
  }
}

TEST(StepLog, TheNewerAttemptCountsFromItsFirstStepOn) {
  const TempDir dir;
  const auto first = Log(dir, "1", 1, 5, 1), second = Log(dir, "2", 4, 4, 2),
             third = Log(dir, "3", 5, 6, 3);
  const auto merged = MergeStepLogs({first, dir / "missing", second, third});
  ASSERT_OK(merged);
  using P = std::pair<int64_t, double>;
  EXPECT_THAT(StepsAndLosses(*merged),
              testing::ElementsAre(P{1, 1}, P{2, 1}, P{3, 1}, P{4, 2}, P{5, 3}, P{6, 3}));
}

TEST(StepLog, AnAttemptWithoutStepsStillDropsWhatItWillDoAgain) {
  const TempDir dir;
  const auto merged = MergeStepLogs({Log(dir, "1", 1, 5, 1), Log(dir, "2", 3, 2, 2)});
  ASSERT_OK(merged);
  EXPECT_EQ(merged->size(), 2u);
}

}  // namespace
}  // namespace ftd

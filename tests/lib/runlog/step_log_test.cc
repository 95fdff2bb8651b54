#include "lib/runlog/step_log.h"

#include <zlib.h>

#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/file.h"
#include "lib/runlog/step_metrics.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

v1::StepMetrics MetricsRow(int64_t step, double loss) {
  v1::StepMetrics row;
  row.set_step(step);
  row.set_loss(loss);
  row.set_tokens_total(step * 100);
  return row;
}

// Writes a log of rows `first` to `last`, all with `loss`.
std::filesystem::path Log(const TempDir& dir, const char* name, int64_t first, int64_t last,
                          double loss) {
  auto log = StepLogWriter::Create(dir / name, first, 50);
  EXPECT_OK(log);
  for (int64_t step = first; step <= last; ++step) EXPECT_OK(log->Append(MetricsRow(step, loss)));
  EXPECT_OK(log->Sync());
  return dir / name;
}

std::vector<std::pair<int64_t, double>> StepsAndLosses(const std::vector<v1::StepMetrics>& rows) {
  std::vector<std::pair<int64_t, double>> pairs;
  pairs.reserve(rows.size());
  for (const v1::StepMetrics& row : rows) pairs.emplace_back(row.step(), row.loss());
  return pairs;
}

TEST(StepLog, ReadsBackRowsAndHeader) {
  const TempDir dir;
  const auto path = Log(dir, "steps.log", 1, 1200, 2.5);
  const auto rows = ReadSteps(path);
  ASSERT_OK(rows);
  ASSERT_EQ(rows->size(), 1200u);
  EXPECT_EQ(rows->back().step(), 1200);
  EXPECT_EQ(rows->back().loss(), 2.5);
  EXPECT_EQ(rows->back().tokens_total(), 120000);
  EXPECT_EQ(ReadSteps(path, 1190, 4)->front().step(), 1191);
  EXPECT_EQ(ReadSteps(path, 1190, 4)->size(), 4u);
  EXPECT_TRUE(ReadSteps(path, 1200)->empty());
  const auto info = ReadStepLogInfo(path);
  EXPECT_EQ(info->first_step, 1);
  EXPECT_EQ(info->steps_planned, 50);
}

// Every field of the message set, by reflection, each to another value.
v1::StepMetrics FullRow(int64_t step) {
  v1::StepMetrics row;
  const auto* type = row.GetDescriptor();
  for (int i = 0; i < type->field_count(); ++i) {
    const auto* field = type->field(i);
    if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_INT64)
      row.GetReflection()->SetInt64(&row, field, (int64_t{1} << 40) + i);
    if (field->cpp_type() == google::protobuf::FieldDescriptor::CPPTYPE_DOUBLE)
      row.GetReflection()->SetDouble(&row, field, 0.1 + i);
  }
  row.set_step(step);
  row.mutable_time()->set_seconds(1790000000);
  row.mutable_time()->set_nanos(123456000);
  return row;
}

TEST(StepLog, KeepsEachNumber) {
  const TempDir dir;
  auto log = StepLogWriter::Create(dir / "steps.log", 7, 10);
  ASSERT_OK(log);
  const v1::StepMetrics full = FullRow(7);
  v1::StepMetrics bare = FullRow(8);
  bare.clear_mfu();
  ASSERT_OK(log->Append(full));
  ASSERT_OK(log->Append(bare));
  const auto rows = ReadSteps(dir / "steps.log");
  ASSERT_OK(rows);
  ASSERT_EQ(rows->size(), 2u);
  EXPECT_EQ(rows->front().DebugString(), full.DebugString());
  EXPECT_EQ(rows->back().DebugString(), bare.DebugString());
  EXPECT_EQ((*ReadLastStep(dir / "steps.log"))->DebugString(), bare.DebugString());
}

// The logs in logs/ were written by workers of the releases that had the format; beside each is
// what `ftctl metrics -o jsonl` of that release said.
class KeptLogTest : public testing::TestWithParam<int> {};

TEST_P(KeptLogTest, IsRead) {
  const std::filesystem::path dir = FTD_TEST_LOGS;
  const std::string name = absl::StrCat("version", GetParam());
  const auto steps = ReadSteps(dir / (name + ".steps.log"));
  ASSERT_OK(steps);
  const std::vector<std::string> lines =
      absl::StrSplit(*ReadFile(dir / (name + ".jsonl")), '\n', absl::SkipEmpty());
  ASSERT_EQ(steps->size(), lines.size());
  ASSERT_FALSE(lines.empty());
  for (size_t i = 0; i < lines.size(); ++i) {
    const auto expected = nlohmann::json::parse(lines[i]);
    const nlohmann::json actual = StepJson((*steps)[i], nullptr);
    for (const auto& [key, value] : expected.items()) EXPECT_EQ(actual.at(key), value) << key;
    EXPECT_EQ((*steps)[i].samples(), 2);
    EXPECT_GT((*steps)[i].time().seconds(), 1790000000);
  }
  const auto info = ReadStepLogInfo(dir / (name + ".steps.log"));
  ASSERT_OK(info);
  EXPECT_EQ(info->first_step, 1);
  EXPECT_EQ(info->steps_planned, 6);
  EXPECT_GT(info->heartbeat, 0u);
  EXPECT_EQ((*ReadLastStep(dir / (name + ".steps.log")))->step(), 6);
}

// Byte for byte what a worker of that release writes, for a daemon that reads nothing newer; the
// heartbeat is wound on.
TEST(StepLog, Version1IsWrittenAsThen) {
  const std::filesystem::path kept = std::filesystem::path(FTD_TEST_LOGS) / "version1.steps.log";
  const TempDir dir;
  auto log = StepLogWriter::Create(dir / "steps.log", 1, 6, 1);
  ASSERT_OK(log);
  const auto steps = ReadSteps(kept);
  for (const v1::StepMetrics& step : *steps) ASSERT_OK(log->Append(step));
  for (uint64_t beats = ReadStepLogInfo(kept)->heartbeat; beats > 0; --beats) log->Beat();
  EXPECT_EQ(*ReadFile(dir / "steps.log"), *ReadFile(kept));
}

INSTANTIATE_TEST_SUITE_P(StepLog, KeptLogTest, testing::Values(1, 2));

// A log as a release with other metrics would write it: without some columns, with some that are
// unknown here.
TEST(StepLog, ColumnsOfAnotherRelease) {
  const TempDir dir;
  std::string columns = "loss f32\nnovelty f64\nstep i64\nages us\n";
  columns.resize((columns.size() + 7) / 8 * 8);
  const auto crc = [](const std::string& bytes) {
    return static_cast<uint32_t>(
        ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
  };
  const auto raw = [](auto value) {
    return std::string(reinterpret_cast<const char*>(&value), sizeof value);
  };
  const std::string header =
      absl::StrCat("FTD STG2", raw(uint32_t{32}), raw(static_cast<uint32_t>(64 + columns.size())),
                   raw(int64_t{3}), raw(int64_t{9}), raw(uint64_t{1}), raw(crc(columns)),
                   std::string(20, '\0'), columns);
  const std::string values = absl::StrCat(raw(2.5F), raw(7.0), raw(int64_t{3}), raw(int64_t{5}));
  const auto path = dir.Write("steps.log", header + values + raw(crc(values)));
  const auto steps = ReadSteps(path);
  ASSERT_OK(steps);
  ASSERT_EQ(steps->size(), 1u);
  EXPECT_EQ(steps->front().loss(), 2.5);
  EXPECT_EQ(steps->front().step(), 3);
  EXPECT_FALSE(steps->front().has_mfu());
  EXPECT_EQ(ReadStepLogInfo(path)->steps_planned, 9);
  // Damage in the columns, or a type that is not one: the log is refused whole.
  std::string damaged = header;
  damaged[66] ^= 1;
  EXPECT_EQ(ReadSteps(dir.Write("damaged", damaged + values)).status().code(),
            absl::StatusCode::kDataLoss);
  EXPECT_TRUE(ReadSteps(dir.Write("young", header.substr(0, 70)))->empty());
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
  EXPECT_TRUE(ReadSteps(dir / "missing")->empty());
  EXPECT_EQ(ReadStepLogInfo(dir / "missing").status().code(), absl::StatusCode::kNotFound);
  const auto other = dir.Write("other", std::string(500, 'x'));
  EXPECT_EQ(ReadStepLogInfo(other).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_EQ(ReadSteps(other).status().code(), absl::StatusCode::kDataLoss);
  EXPECT_TRUE(ReadSteps(dir.Write("young", "short"))->empty());
  // A power cut took the first write and left a later one.
  const auto lost = dir.Write("lost", std::string(500, '\0') + "a row");
  EXPECT_TRUE(ReadSteps(lost)->empty());
  EXPECT_EQ(ReadStepLogInfo(lost).status().code(), absl::StatusCode::kNotFound);
}

TEST(StepLog, ATornOrDamagedRowEndsTheLog) {
  const TempDir dir;
  const std::string bytes = *ReadFile(Log(dir, "steps.log", 1, 3, 1));
  const size_t header = ReadFile(Log(dir, "empty.log", 1, 0, 1))->size();
  const size_t row = (bytes.size() - header) / 3;
  ASSERT_EQ(bytes.size(), header + 3 * row);
  for (size_t cut = header + row; cut < header + 2 * row; cut += 9) {
    const auto path = dir.Write("cut", bytes.substr(0, cut));
    EXPECT_EQ(ReadSteps(path)->size(), 1u) << cut;
    EXPECT_EQ((*ReadLastStep(path))->step(), 1) << cut;
  }
  for (size_t i = header + row; i < header + 2 * row; i += 5) {
    std::string damaged = bytes;
    damaged[i] ^= 1;
    EXPECT_EQ(ReadSteps(dir.Write("damaged", damaged))->size(), 1u) << i;
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

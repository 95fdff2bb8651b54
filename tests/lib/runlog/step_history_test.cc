#include "lib/runlog/step_history.h"

#include <gtest/gtest.h>

#include <cmath>
#include <cstdlib>
#include <fstream>
#include <limits>
#include <random>
#include <string>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/file.h"
#include "lib/runlog/step_log.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using Steps = std::vector<v1::StepMetrics>;

double Height(const v1::StepMetrics& step) {
  return std::isnan(step.loss()) ? std::numeric_limits<double>::infinity() : step.loss();
}

// What QueryMetrics promises, done plainly on all steps in memory.
Steps Decimate(const Steps& steps, size_t max_points) {
  if (max_points == 0 || steps.size() <= max_points) return steps;
  if (max_points == 1) return {steps.back()};
  const auto lower = [](const auto& a, const auto& b) { return Height(a) < Height(b); };
  const size_t stretches = max_points / 2;
  Steps kept;
  for (size_t i = 0; i < stretches; ++i) {
    const auto begin = steps.begin() + static_cast<std::ptrdiff_t>(steps.size() * i / stretches);
    const auto end =
        steps.begin() + static_cast<std::ptrdiff_t>(steps.size() * (i + 1) / stretches);
    const auto [least, greatest] = std::minmax_element(begin, end, lower);
    kept.push_back(*std::min(least, greatest));
    if (least != greatest) kept.push_back(*std::max(least, greatest));
  }
  return kept;
}

std::string Text(const Steps& steps) {
  std::string text;
  for (const v1::StepMetrics& step : steps) absl::StrAppend(&text, step.SerializeAsString(), "\n");
  return text;
}

struct Query {
  int64_t from = 0, to = 0;
  size_t points = 0;
};

Steps ByHistory(const std::vector<fs::path>& logs, const Query& query) {
  auto history = StepHistory::Open(logs, query.from, query.to);
  EXPECT_OK(history);
  const auto points = static_cast<int64_t>(query.points);
  if (points == 0 || history->size() <= points) return *history->Read(0, history->size());
  const auto chosen = history->Choose(points);
  EXPECT_OK(chosen);
  Steps steps;
  for (const int64_t number : *chosen) steps.push_back(history->Read(number, 1)->front());
  return steps;
}

Steps ByMerging(const std::vector<fs::path>& logs, const Query& query) {
  Steps steps = *MergeStepLogs(logs);
  std::erase_if(steps, [&](const auto& step) {
    return step.step() < query.from || (query.to > 0 && step.step() > query.to);
  });
  return Decimate(steps, query.points);
}

void ExpectSame(const std::vector<fs::path>& logs, const Query& query) {
  EXPECT_EQ(Text(ByHistory(logs, query)), Text(ByMerging(logs, query)))
      << "from " << query.from << " to " << query.to << " points " << query.points;
}

// Random losses, of which many are equal and some NaN or infinite.
class Losses {
 public:
  explicit Losses(uint32_t seed) : random_(seed) {}
  double Next() {
    const int kind = Number(0, 40);
    if (kind == 0) return std::nan("");
    if (kind == 1) return std::numeric_limits<double>::infinity();
    return Number(0, 20) / 4.0;
  }
  int Number(int least, int most) { return std::uniform_int_distribution(least, most)(random_); }

 private:
  std::mt19937 random_;
};

// A log that can be appended to later.
struct LogOnDisk {
  StepLogWriter writer;
  int64_t next = 0;

  void Append(int64_t count, Losses& losses) {
    for (const int64_t end = next + count; next < end; ++next) {
      v1::StepMetrics step;
      step.set_step(next);
      step.set_loss(losses.Next());
      step.set_tokens_total(next * 100);
      EXPECT_OK(writer.Append(step));
    }
  }
};

LogOnDisk MakeLog(const fs::path& path, int64_t first, int64_t count, Losses& losses,
                  int32_t version = kStepLogVersion) {
  auto writer = StepLogWriter::Create(path, first, 100000, version);
  EXPECT_OK(writer);
  LogOnDisk log{*std::move(writer), first};
  log.Append(count, losses);
  return log;
}

uint32_t Seed() {
  const char* given = std::getenv("FTD_TEST_SEED");
  const uint32_t seed =
      given != nullptr ? static_cast<uint32_t>(std::stoul(given)) : std::random_device()();
  std::printf("FTD_TEST_SEED=%u\n", seed);
  return seed;
}

TEST(StepHistory, GivesWhatMergingAllLogsGives) {
  Losses losses(Seed());
  for (int round = 0; round < 12; ++round) {
    const TempDir dir;
    std::vector<fs::path> logs;
    int64_t first = 1;
    for (int attempt = losses.Number(1, 4); attempt > 0; --attempt) {
      logs.push_back(dir / absl::StrCat(attempt, ".log"));
      const int64_t count =
          losses.Number(0, 1) == 0 ? losses.Number(0, 200) : losses.Number(0, 9000);
      if (losses.Number(0, 5) > 0) MakeLog(logs.back(), first, count, losses, losses.Number(1, 2));
      // The next attempt repeats some steps, or begins at the first.
      first = losses.Number(0, 3) == 0
                  ? 1
                  : std::max<int64_t>(1, first + count - losses.Number(0, 300));
    }
    for (int query = 0; query < 25; ++query) {
      const int from = losses.Number(0, 2) == 0 ? losses.Number(0, 10000) : 0;
      const int to = losses.Number(0, 2) == 0 ? losses.Number(from, from + 9000) : 0;
      ExpectSame(
          logs, {.from = from,
                 .to = to,
                 .points = static_cast<size_t>(losses.Number(0, 1) == 0 ? losses.Number(0, 12)
                                                                        : losses.Number(0, 3000))});
    }
  }
}

TEST(StepHistory, TrustsTheLogOverItsSummary) {
  const TempDir dir;
  Losses losses(7);
  const fs::path path = dir / "steps.log", summary = dir / "steps.log.summary";
  LogOnDisk log = MakeLog(path, 1, 10000, losses);
  const auto look = [&] {
    for (const size_t points : {0, 2, 7, 100, 999}) ExpectSame({path}, {.points = points});
  };
  look();
  const std::string whole = *ReadFile(summary);
  EXPECT_EQ(whole.size(), 10000u / 4096 * (64 * 24 + 8));
  const auto with = [&](const std::string& bytes) {
    std::ofstream(summary, std::ios::binary) << bytes;
    look();
    EXPECT_EQ(*ReadFile(summary), whole);
  };
  with("");
  with(whole.substr(0, 1000));
  with(whole.substr(0, 240) + std::string(500, 'x') + whole.substr(740));
  with(std::string(whole.size(), '\0'));
  fs::remove(summary);
  fs::create_directory(summary);  // it cannot be written
  look();
  fs::remove(summary);
  look();

  log.Append(9000, losses);
  look();
  EXPECT_EQ(ReadFile(summary)->substr(0, whole.size()), whole);
}

// Entries that are good in themselves, but of another log with the same header.
TEST(StepHistory, NoticesASummaryOfOtherRows) {
  const TempDir dir;
  Losses losses(8), others(9);
  const fs::path path = dir / "steps.log", summary = dir / "steps.log.summary";
  MakeLog(path, 1, 10000, losses);
  MakeLog(dir / "other.log", 1, 10000, others);
  ExpectSame({dir / "other.log"}, {.points = 20});
  fs::rename(dir / "other.log.summary", summary);
  ExpectSame({path}, {.points = 20});
  // A log that has become shorter.
  fs::resize_file(path, fs::file_size(path) / 2);
  ExpectSame({path}, {.points = 20});
}

TEST(StepHistory, EndsAtADamagedRow) {
  const TempDir dir;
  Losses losses(10);
  const fs::path path = dir / "steps.log";
  MakeLog(path, 1, 6000, losses);
  std::string bytes = *ReadFile(path);
  bytes[bytes.size() / 2] = static_cast<char>(bytes[bytes.size() / 2] ^ 1);
  std::ofstream(path, std::ios::binary) << bytes;
  for (const size_t points : {0, 1, 10, 100}) ExpectSame({path}, {.points = points});
}

// Its memory is bounded by pieces: a long log is read without holding its steps.
TEST(StepHistory, ReadsAnyPiece) {
  const TempDir dir;
  Losses losses(11);
  const fs::path first = dir / "1.log", second = dir / "2.log";
  MakeLog(first, 1, 700, losses);
  MakeLog(second, 501, 700, losses);
  auto history = StepHistory::Open({first, dir / "missing", second}, 0, 0);
  ASSERT_OK(history);
  ASSERT_EQ(history->size(), 1200);
  const auto across = history->Read(498, 5);
  ASSERT_OK(across);
  ASSERT_EQ(across->size(), 5u);
  EXPECT_EQ(across->front().step(), 499);
  EXPECT_EQ(across->back().step(), 503);
  EXPECT_EQ(history->Read(1198, 100)->size(), 2u);
  EXPECT_EQ(StepHistory::Open({first}, 701, 0)->size(), 0);
}

}  // namespace
}  // namespace ftd

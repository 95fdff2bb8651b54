#include "lib/runlog/record_log.h"

#include "lib/base/file.h"

#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::string ThreeRecords(const TempDir& dir) {
  auto log = RecordLogWriter::Create(dir / "log");
  EXPECT_OK(log);
  EXPECT_OK(log->Append("first", false));
  EXPECT_OK(log->Append("s", true));
  EXPECT_OK(log->Append(std::string("th\0rd", 5), false));
  return *ReadFile(dir / "log");
}

TEST(RecordLog, ReadsBackAndGoesOn) {
  const TempDir dir;
  ThreeRecords(dir);
  const auto all = ReadRecords(dir / "log", 0);
  ASSERT_OK(all);
  EXPECT_THAT(all->payloads, ElementsAre("first", "s", std::string("th\0rd", 5)));
  const auto one = ReadRecords(dir / "log", 0, 1);
  EXPECT_THAT(one->payloads, ElementsAre("first"));
  EXPECT_THAT(ReadRecords(dir / "log", one->next_offset, 1)->payloads, ElementsAre("s"));
  EXPECT_THAT(ReadRecords(dir / "log", all->next_offset)->payloads, IsEmpty());
}

TEST(RecordLog, NoFileHasNoRecords) {
  const TempDir dir;
  EXPECT_THAT(ReadRecords(dir / "missing", 0)->payloads, IsEmpty());
}

TEST(RecordLog, ATailOfZerosIsNoRecord) {
  const TempDir dir;
  const std::string bytes = ThreeRecords(dir);
  const auto batch = ReadRecords(dir.Write("zeros", bytes + std::string(64, '\0')), 0);
  ASSERT_OK(batch);
  EXPECT_EQ(batch->payloads.size(), 3U);
  EXPECT_FALSE(RecordLogWriter::Create(dir / "new")->Append("", false).ok());
}

TEST(RecordLog, AnExistingLogIsNotOverwritten) {
  const TempDir dir;
  ThreeRecords(dir);
  EXPECT_FALSE(RecordLogWriter::Create(dir / "log").ok());
}

TEST(RecordLog, ATailCutAtAnyByteEndsBehindTheLastWholeRecord) {
  const TempDir dir;
  const std::string bytes = ThreeRecords(dir);
  const size_t ends[] = {0, 13, 22, 35};
  ASSERT_EQ(bytes.size(), ends[3]);
  for (size_t cut = 0; cut <= bytes.size(); ++cut) {
    const auto batch = ReadRecords(dir.Write("cut", bytes.substr(0, cut)), 0);
    ASSERT_OK(batch);
    const size_t whole = cut >= ends[3] ? 3 : cut >= ends[2] ? 2 : cut >= ends[1] ? 1 : 0;
    EXPECT_EQ(batch->payloads.size(), whole) << "cut at " << cut;
    EXPECT_EQ(batch->next_offset, ends[whole]) << "cut at " << cut;
  }
}

TEST(RecordLog, AnyFlippedBitInARecordEndsTheLog) {
  const TempDir dir;
  const std::string bytes = ThreeRecords(dir);
  for (size_t i = 0; i < 13; ++i) {
    std::string damaged = bytes;
    damaged[i] ^= 0x10;
    const auto batch = ReadRecords(dir.Write("damaged", damaged), 0);
    ASSERT_OK(batch);
    EXPECT_THAT(batch->payloads, IsEmpty()) << "byte " << i;
  }
}

TEST(RecordLog, ARecordThatIsTooLongIsRefused) {
  const TempDir dir;
  auto log = RecordLogWriter::Create(dir / "log");
  ASSERT_OK(log);
  EXPECT_OK(log->Append(std::string(kMaxRecordBytes, 'x'), false));
  EXPECT_FALSE(log->Append(std::string(kMaxRecordBytes + 1, 'x'), false).ok());
  EXPECT_EQ(ReadRecords(dir / "log", 0)->payloads.size(), 1u);
}

}  // namespace
}  // namespace ftd

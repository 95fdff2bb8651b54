#include "lib/gguf/writer.h"

#include <cstdint>
#include <string>
#include <vector>

#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd::gguf {
namespace {

using std::string_literals::operator""s;

std::string BytesOf(const std::filesystem::path& path) {
  const auto bytes = ReadFile(path);
  EXPECT_OK(bytes);
  return bytes.value_or("");
}

int FilesIn(const std::filesystem::path& dir) {
  const std::filesystem::directory_iterator files(dir);
  return static_cast<int>(std::distance(begin(files), end(files)));
}

// The specification, byte by byte (ggml-org/ggml, docs/gguf.md).
TEST(Writer, WritesTheContainer) {
  const TempDir dir;
  Metadata metadata;
  metadata.Add("a", uint32_t{7});
  metadata.Add("b", "xy");
  auto writer = Writer::Create(dir / "f.gguf", metadata,
                               {{"t", TensorType::kF32, {2, 1}}, {"v", TensorType::kF16, {3}}});
  ASSERT_OK(writer);
  ASSERT_OK(writer->Write("AAAA"));
  ASSERT_OK(writer->Write("BBBB"));
  ASSERT_OK(writer->Write("ccddee"));
  ASSERT_OK(writer->Finish());

  const std::string header =
      "GGUF\x03\0\0\0"s + "\x02\0\0\0\0\0\0\0"s + "\x02\0\0\0\0\0\0\0"s +  // 24
      "\x01\0\0\0\0\0\0\0a"s + "\x04\0\0\0"s + "\x07\0\0\0"s +             // 41
      "\x01\0\0\0\0\0\0\0b"s + "\x08\0\0\0"s + "\x02\0\0\0\0\0\0\0xy"s +   // 64
      "\x01\0\0\0\0\0\0\0t"s + "\x02\0\0\0"s + "\x01\0\0\0\0\0\0\0"s + "\x02\0\0\0\0\0\0\0"s +
      "\0\0\0\0"s + "\0\0\0\0\0\0\0\0"s +  // 105
      "\x01\0\0\0\0\0\0\0v"s + "\x01\0\0\0"s + "\x03\0\0\0\0\0\0\0"s + "\x01\0\0\0"s +
      "\x20\0\0\0\0\0\0\0"s;
  const std::string want = header + std::string(160 - header.size(), '\0') + "AAAABBBB" +
                           std::string(24, '\0') + "ccddee" + std::string(26, '\0');
  EXPECT_EQ(BytesOf(dir / "f.gguf"), want);
  EXPECT_EQ(writer->size(), want.size());
  EXPECT_EQ(FilesIn(dir.path()), 1);
}

TEST(Writer, HasAllValueTypes) {
  Metadata metadata;
  metadata.Add("k", uint8_t{1});
  metadata.Add("k", int8_t{-1});
  metadata.Add("k", uint16_t{1});
  metadata.Add("k", int16_t{-1});
  metadata.Add("k", int32_t{-1});
  metadata.Add("k", 1.0F);
  metadata.Add("k", true);
  metadata.Add("k", uint64_t{1});
  metadata.Add("k", int64_t{-1});
  metadata.Add("k", 1.0);
  metadata.Add("k", std::vector<int32_t>{1, -1});
  metadata.Add("k", std::vector<float>{1});
  metadata.Add("k", std::vector<bool>{true, false});
  metadata.Add("k", std::vector<std::string>{"x", ""});
  const std::string key = "\x01\0\0\0\0\0\0\0k"s, one = "\x01\0\0\0\0\0\0\0"s;
  const std::string array = key + "\x09\0\0\0"s, two = "\x02\0\0\0\0\0\0\0"s;
  EXPECT_EQ(metadata.count(), 14u);
  EXPECT_EQ(metadata.bytes(), key + "\0\0\0\0\x01"s + key + "\x01\0\0\0\xff"s + key +
                                  "\x02\0\0\0\x01\0"s + key + "\x03\0\0\0\xff\xff"s + key +
                                  "\x05\0\0\0\xff\xff\xff\xff"s + key + "\x06\0\0\0\0\0\x80\x3f"s +
                                  key + "\x07\0\0\0\x01"s + key + "\x0a\0\0\0"s + one + key +
                                  "\x0b\0\0\0"s + std::string(8, '\xff') + key +
                                  "\x0c\0\0\0\0\0\0\0\0\0\xf0\x3f"s + array + "\x05\0\0\0"s + two +
                                  "\x01\0\0\0\xff\xff\xff\xff"s + array + "\x06\0\0\0"s + one +
                                  "\0\0\x80\x3f"s + array + "\x07\0\0\0"s + two + "\x01\0"s +
                                  array + "\x08\0\0\0"s + two + one + "x" + std::string(8, '\0'));
}

TEST(Writer, LeavesNothingUnlessFinished) {
  const TempDir dir;
  dir.Write("f.gguf", "old");
  {
    auto writer = Writer::Create(dir / "f.gguf", Metadata(), {{"t", TensorType::kF32, {2, 4}}});
    ASSERT_OK(writer);
    ASSERT_OK(writer->Write(std::string(16, 'x')));
    EXPECT_EQ(FilesIn(dir.path()), 2);
    EXPECT_ERROR(writer->Finish(), absl::StatusCode::kInternal, "INTERNAL", "not all tensors");
  }
  EXPECT_EQ(BytesOf(dir / "f.gguf"), "old");
  EXPECT_EQ(FilesIn(dir.path()), 1);
}

TEST(Writer, NamesWhatTheDiskLacks) {
  const TempDir dir;
  const auto writer = Writer::Create(dir / "f.gguf", Metadata(),
                                     {{"t", TensorType::kF32, {int64_t{1} << 30, 1 << 20}}});
  EXPECT_ERROR(writer, absl::StatusCode::kResourceExhausted, "DISK_FULL", "needs 4503599.63 GB");
  EXPECT_EQ(FilesIn(dir.path()), 0);
  EXPECT_FALSE(Writer::Create(dir / "no" / "f.gguf", Metadata(), {}).ok());
}

}  // namespace
}  // namespace ftd::gguf

#include "lib/data/rows/byte_stream.h"

#include <zlib.h>
#include <zstd.h>

#include <random>

#include "lib/base/concat.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

std::string Gzip(const std::string& bytes) {
  z_stream zlib = {};
  EXPECT_EQ(deflateInit2(&zlib, 6, Z_DEFLATED, 16 + MAX_WBITS, 8, Z_DEFAULT_STRATEGY), Z_OK);
  std::string out(deflateBound(&zlib, bytes.size()) + 64, '\0');
  zlib.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(bytes.data()));
  zlib.avail_in = static_cast<uInt>(bytes.size());
  zlib.next_out = reinterpret_cast<Bytef*>(out.data());
  zlib.avail_out = static_cast<uInt>(out.size());
  EXPECT_EQ(deflate(&zlib, Z_FINISH), Z_STREAM_END);
  out.resize(zlib.total_out);
  deflateEnd(&zlib);
  return out;
}

std::string Zstd(const std::string& bytes) {
  std::string out(ZSTD_compressBound(bytes.size()), '\0');
  out.resize(ZSTD_compress(out.data(), out.size(), bytes.data(), bytes.size(), 3));
  return out;
}

// Some that compress well and some that do not, over many of the streams' own chunks.
std::string SampleBytes() {
  std::mt19937 random(5);
  std::string bytes(300'000, 'x');
  for (int i = 0; i < 300'000; ++i) bytes.push_back(static_cast<char>(random()));
  return bytes;
}

absl::StatusOr<std::string> Drain(ByteStream& stream, size_t step) {
  std::string all, buffer(step, '\0');
  while (true) {
    FTD_ASSIGN_OR_RETURN(const size_t n, stream.Read(buffer.data(), step));
    if (n == 0) return all;
    all.append(buffer, 0, n);
  }
}

absl::StatusOr<std::string> ReadBack(std::string_view bytes, const std::string& name,
                                     size_t step = 4096) {
  FTD_ASSIGN_OR_RETURN(const auto stream, OpenByteStreamInMemory(bytes, name));
  return Drain(*stream, step);
}

TEST(ByteStream, EveryCompressionGivesTheSameBytes) {
  const std::string bytes = SampleBytes();
  const TempDir dir;
  for (const auto& [name, stored] : std::initializer_list<std::pair<std::string, std::string>>{
           {"a.jsonl", bytes},
           {"a.jsonl.gz", Gzip(bytes)},
           {"a.jsonl.zst", Zstd(bytes)},
           {"told by its bytes alone", Zstd(bytes)},
           {"two members.gz", Gzip(bytes.substr(0, 1000)) + Gzip(bytes.substr(1000))},
           {"padded.gz", Gzip(bytes) + std::string(1000, '\0')},
           {"padded between.gz", Gzip(bytes.substr(0, 1000)) + std::string(512, '\0') +
                                     Gzip(bytes.substr(1000)) + std::string(1, '\0')},
           {"two frames.zst", Zstd(bytes.substr(0, 1000)) + Zstd(bytes.substr(1000))}}) {
    for (const size_t step : {size_t{1}, size_t{1000}, size_t{1} << 20}) {
      if (step == 1 && bytes.size() > 1'000'000) continue;
      const auto read = ReadBack(stored, name, step);
      ASSERT_OK(read);
      EXPECT_TRUE(*read == bytes) << name << " by " << step;
    }
    const auto stream = OpenByteStream(dir.Write("file", stored), name);
    ASSERT_OK(stream);
    EXPECT_TRUE(*Drain(**stream, 4096) == bytes) << name;
    EXPECT_EQ((*stream)->consumed_bytes(), static_cast<int64_t>(stored.size())) << name;
  }
}

TEST(ByteStream, SmallAndEmptyFiles) {
  for (const char* bytes : {"", "a", "ab", "abc", "abcd"})
    EXPECT_EQ(*ReadBack(bytes, "a.csv"), bytes);
  EXPECT_EQ(*ReadBack(Gzip(""), "a.csv.gz"), "");
  EXPECT_EQ(*ReadBack(Zstd(""), "a.csv.zst"), "");
}

TEST(ByteStream, DamageIsAnErrorThatNamesTheFile) {
  const std::string bytes = SampleBytes(), gzip = Gzip(bytes), zstd = Zstd(bytes);
  std::string flipped_gzip = gzip, flipped_zstd = zstd;
  flipped_gzip[gzip.size() / 2] ^= 0x10;
  flipped_zstd[8] ^= 0x55;
  const struct {
    const char* name;
    std::string stored;
    const char* text;
  } kTable[] = {
      {"a.gz", gzip.substr(0, gzip.size() / 2), "a.gz: the gzip data is cut short"},
      {"a.gz", gzip.substr(0, gzip.size() - 3), "a.gz: the gzip data is cut short"},
      {"a.gz", gzip.substr(0, 2), "a.gz: the gzip data is cut short"},
      {"a.gz", gzip + "rubbish", "a.gz: the gzip data is damaged"},
      {"a.gz", gzip + std::string(9, '\0') + "rubbish", "a.gz: the gzip data is damaged"},
      {"a.jsonl", std::string("\xFF\xFE{\0\"\0", 6), "a.jsonl: the text is UTF-16"},
      {"a.csv", std::string("\xFE\xFF\0t\0e", 6), "a.csv: the text is UTF-16"},
      {"a.csv", std::string("t\0e\0", 4), "a.csv: the text is UTF-16"},
      {"a.csv", std::string("\0t\0e", 4), "a.csv: the text is UTF-16"},
      {"a.jsonl", std::string("\xFF\xFE\0\0{\0\0\0", 8), "a.jsonl: the text is UTF-32"},
      {"a.jsonl.gz", Gzip(std::string("\xFF\xFE{\0", 4)), "a.jsonl.gz: the text is UTF-16"},
      {"a.gz", flipped_gzip, "a.gz: the gzip data is damaged"},
      {"a.gz", "<html>Not found</html>", "a.gz: is named as gzip data but holds none"},
      {"a.gz", "", "a.gz: is named as gzip data but holds none"},
      {"a.zst", zstd.substr(0, zstd.size() / 2), "a.zst: the zstd data is cut short"},
      {"a.zst", zstd.substr(0, zstd.size() - 1), "a.zst: the zstd data is cut short"},
      {"a.zst", zstd.substr(0, 4), "a.zst: the zstd data is cut short"},
      {"a.zst", flipped_zstd, "a.zst: the zstd data is damaged"},
      {"a.zst", "plain", "a.zst: is named as zstd data but holds none"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(Concat(row.name, " of ", row.stored.size(), " bytes"));
    EXPECT_ERROR(ReadBack(row.stored, row.name), kInvalid, "DATASET_INVALID", row.text);
  }
  EXPECT_EQ(OpenByteStream("/nowhere/a.gz", "a.gz").status().code(), absl::StatusCode::kNotFound);
}

TEST(ByteStream, NamesPromiseACompression) {
  EXPECT_EQ(CompressionOfName("a.jsonl.gz"), Compression::kGzip);
  EXPECT_EQ(CompressionOfName("a.csv.zst"), Compression::kZstd);
  EXPECT_EQ(CompressionOfName("a.parquet"), Compression::kNone);
  EXPECT_EQ(WithoutCompression("a.jsonl.gz"), "a.jsonl");
  EXPECT_EQ(WithoutCompression("a.jsonl"), "a.jsonl");
}

}  // namespace
}  // namespace ftd

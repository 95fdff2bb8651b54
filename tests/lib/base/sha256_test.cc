#include "lib/base/sha256.h"

#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

// FIPS 180-4's examples.
constexpr char kEmpty[] = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
constexpr char kAbc[] = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
constexpr char kMillionA[] = "cdc76e5c9914fb9281a1c7e284d73e67f1809a48a497200e046d39ccc7112cd0";

TEST(Sha256, KnownDigests) {
  EXPECT_EQ(Sha256Hex(""), kEmpty);
  EXPECT_EQ(Sha256Hex("abc"), kAbc);
  Sha256 hash;
  for (int i = 0; i < 1000; ++i) hash.Update(std::string(1000, 'a'));
  EXPECT_EQ(hash.HexDigest(), kMillionA);
}

TEST(Sha256, FilesAcrossReadBuffers) {
  const TempDir dir;
  EXPECT_EQ(*Sha256File(dir.Write("empty", "")), kEmpty);
  EXPECT_EQ(*Sha256File(dir.Write("a", std::string(1'000'000, 'a'))), kMillionA);
  const std::string large(3 << 20, 'x');
  EXPECT_EQ(*Sha256File(dir.Write("large", large)), Sha256Hex(large));
  EXPECT_EQ(Sha256File(dir / "missing").status().code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace ftd

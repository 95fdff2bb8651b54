#include "lib/base/manifest.h"

#include "lib/base/file.h"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

constexpr auto kLoss = absl::StatusCode::kDataLoss;

std::filesystem::path Sealed(const TempDir& dir) {
  dir.Write(".tmp-checkpoint-7/weights", std::string(5000, 'w'));
  dir.Write(".tmp-checkpoint-7/adapter/config.json", "{}");
  Manifest manifest;
  manifest.step = 7;
  manifest.spec_hash = "abc";
  EXPECT_OK(SealDirectory(dir / ".tmp-checkpoint-7", dir / "checkpoint-7", manifest));
  return dir / "checkpoint-7";
}

TEST(Manifest, ASealedDirectoryVerifies) {
  const TempDir dir;
  const auto sealed = Sealed(dir);
  EXPECT_FALSE(std::filesystem::exists(dir / ".tmp-checkpoint-7"));
  const auto manifest = VerifyDirectory(sealed);
  ASSERT_OK(manifest);
  EXPECT_EQ(manifest->step, 7);
  EXPECT_EQ(manifest->spec_hash, "abc");
  EXPECT_EQ(manifest->total_bytes, 5002);
  EXPECT_EQ(ReadManifest(sealed)->total_bytes, 5002);
}

TEST(Manifest, NothingIsReplaced) {
  const TempDir dir;
  Sealed(dir);
  dir.Write(".tmp-again/weights", "x");
  EXPECT_FALSE(SealDirectory(dir / ".tmp-again", dir / "checkpoint-7", Manifest()).ok());
  EXPECT_OK(VerifyDirectory(dir / "checkpoint-7"));
}

TEST(Manifest, DamageIsFound) {
  const TempDir dir;
  const auto sealed = Sealed(dir);
  const std::string manifest = *ReadFile(sealed / "MANIFEST.json");
  std::string weights(5000, 'w');
  weights[2500] = 'W';
  dir.Write("checkpoint-7/weights", weights);
  EXPECT_ERROR(VerifyDirectory(sealed), kLoss, "CHECKPOINT_CORRUPT", "weights has other bytes");
  dir.Write("checkpoint-7/weights", std::string(4999, 'w'));
  EXPECT_ERROR(VerifyDirectory(sealed), kLoss, "CHECKPOINT_CORRUPT", "weights has 4999 bytes");
  std::filesystem::remove(sealed / "weights");
  EXPECT_ERROR(VerifyDirectory(sealed), kLoss, "CHECKPOINT_CORRUPT", "weights is missing");
  for (size_t cut : {size_t{0}, size_t{1}, manifest.size() / 2, manifest.size() - 2}) {
    dir.Write("checkpoint-7/MANIFEST.json", manifest.substr(0, cut));
    EXPECT_ERROR(VerifyDirectory(sealed), kLoss, "CHECKPOINT_CORRUPT", "MANIFEST.json");
  }
  std::filesystem::remove(sealed / "MANIFEST.json");
  EXPECT_ERROR(VerifyDirectory(sealed), kLoss, "CHECKPOINT_CORRUPT", "no MANIFEST.json");
}

TEST(Manifest, NamesOfCheckpoints) {
  EXPECT_EQ(CheckpointStep("/a/checkpoint-120"), 120);
  for (const char* name : {"/a/.tmp-checkpoint-120", "/a/checkpoint-", "/a/checkpoint-x",
                           "/a/result", "/a/checkpoint-1x"}) {
    EXPECT_EQ(CheckpointStep(name), -1) << name;
  }
}

}  // namespace
}  // namespace ftd

#include "lib/data/token_store.h"

#include <random>

#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

TokenizedRow RandomRow(std::mt19937& random) {
  TokenizedRow row;
  bool learned = random() % 2 == 0;
  for (size_t i = 0, n = 2 + random() % 40; i < n; ++i) {
    row.input_ids.push_back(static_cast<int32_t>(random() % 100000));
    if (random() % 8 == 0) learned = !learned;
    row.labels.push_back(learned ? row.input_ids.back() : kIgnoreLabel);
  }
  return row;
}

TEST(TokenStore, ReadsBackWhatWasWritten) {
  std::mt19937 random(7);
  const TempDir dir;
  std::vector<TokenizedRow> kept;
  int64_t dropped = 0;
  auto writer = TokenStoreWriter::Create(dir.path());
  ASSERT_OK(writer);
  for (int b = 0; b < 20; ++b) {
    TokenBlock block;
    for (int i = 0; i < 10; ++i) {
      const TokenizedRow row = RandomRow(random);
      const bool added = block.Add(row);
      EXPECT_EQ(added, CountLabels(row) > 0);
      if (added) kept.push_back(row);
      dropped += added ? 0 : 1;
    }
    ASSERT_OK(writer->Append(block));
  }
  ASSERT_OK(writer->Finish());
  EXPECT_EQ(static_cast<int64_t>(kept.size()) + dropped, 200);
  const auto store = TokenStore::Open(dir.path());
  ASSERT_OK(store);
  ASSERT_EQ((*store)->size(), static_cast<int64_t>(kept.size()));
  std::filesystem::remove_all(dir.path());  // what is open can be read on
  for (size_t i = kept.size(); i-- > 0;) {
    const auto row = (*store)->Read(static_cast<int64_t>(i));
    ASSERT_OK(row);
    EXPECT_EQ(row->input_ids, kept[i].input_ids);
    EXPECT_EQ(row->labels, kept[i].labels);
    const auto length = (*store)->Length(static_cast<int64_t>(i));
    EXPECT_EQ(length->tokens, static_cast<int64_t>(kept[i].input_ids.size()));
    EXPECT_EQ(length->labels, CountLabels(kept[i]));
  }
}

TEST(TokenStore, DamageIsSeenNotFollowed) {
  const TempDir dir;
  const auto write = [&] {
    auto writer = TokenStoreWriter::Create(dir.path());
    TokenBlock block;
    block.Add({{5, 6, 7}, {5, 6, 7}});
    block.Add({{8, 9}, {kIgnoreLabel, 9}});
    EXPECT_OK(writer->Append(block));
    EXPECT_OK(writer->Finish());
  };
  write();
  std::filesystem::resize_file(dir / "index.bin", 17);
  EXPECT_EQ(TokenStore::Open(dir.path()).status().code(), absl::StatusCode::kDataLoss);
  std::filesystem::resize_file(dir / "index.bin", 0);
  EXPECT_EQ(TokenStore::Open(dir.path()).status().code(), absl::StatusCode::kDataLoss);
  for (size_t byte = 0; byte < 48; ++byte) {  // the index alone can lead astray
    for (const unsigned char damage : {0x01, 0x80, 0xff}) {
      write();
      std::fstream file(dir / "index.bin", std::ios::in | std::ios::out | std::ios::binary);
      file.seekg(static_cast<std::streamoff>(byte));
      const char old = static_cast<char>(file.get());
      file.seekp(static_cast<std::streamoff>(byte));
      file.put(static_cast<char>(old ^ damage));
      file.close();
      const auto store = TokenStore::Open(dir.path());
      ASSERT_OK(store);
      for (int64_t i = 0; i < 2; ++i) {
        const auto row = (*store)->Read(i);
        EXPECT_TRUE(!row.ok() || row->labels.size() == row->input_ids.size());
      }
    }
  }
}

}  // namespace
}  // namespace ftd

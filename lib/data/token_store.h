// Tokenised rows on disk: written once, in order, then read at random.
//
// A store is a directory. ids.bin holds, row after row, the token ids (int32) and after them the
// positions (uint32) at which learning is switched on, off, on, …; index.bin one 16-byte entry a
// row and one more at the end: where the row's bytes begin in ids.bin (uint64), tokens (uint32) and
// labels (uint32). All numbers are little-endian. Nothing is kept in memory, neither rows nor
// index, so that memory does not grow with the data.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/file.h"
#include "lib/data/row_source.h"

namespace ftd {

// An entry of index.bin.
struct TokenIndexEntry {
  uint64_t offset;
  uint32_t tokens, labels;
};

// Rows as bytes, ready to be appended to a store. Made on any thread.
class TokenBlock {
 public:
  // Returns false for a row that has nothing to learn, which is left out.
  bool Add(const TokenizedRow& row);

 private:
  friend class TokenStoreWriter;
  std::string ids_;
  std::vector<TokenIndexEntry> entries_;  // offsets within ids_
};

// Not thread-safe.
class TokenStoreWriter {
 public:
  // Makes the files in an existing, empty directory.
  static absl::StatusOr<TokenStoreWriter> Create(const std::filesystem::path& dir);
  absl::Status Append(const TokenBlock& block);
  // After the last block. The store is then complete, though not yet durable.
  absl::Status Finish();
  int64_t rows() const { return rows_; }

 private:
  TokenStoreWriter(const std::filesystem::path& dir, Fd ids, Fd index)
      : dir_(dir), ids_(std::move(ids)), index_(std::move(index)) {}
  std::filesystem::path dir_;
  Fd ids_, index_;
  int64_t rows_ = 0;
  uint64_t bytes_ = 0;  // of ids.bin
};

// Thread-safe. Continues to read when the directory is removed.
class TokenStore : public RowSource {
 public:
  // The caller checks that the files hold what was written (token_cache.h).
  static absl::StatusOr<std::unique_ptr<TokenStore>> Open(const std::filesystem::path& dir);

  int64_t size() const override { return rows_; }
  absl::StatusOr<RowLength> Length(int64_t row) const override;
  absl::StatusOr<TokenizedRow> Read(int64_t row) const override;

 private:
  TokenStore(const std::filesystem::path& dir, Fd ids, Fd index, int64_t rows)
      : dir_(dir), ids_(std::move(ids)), index_(std::move(index)), rows_(rows) {}
  std::filesystem::path dir_;
  Fd ids_, index_;
  int64_t rows_;
};

}  // namespace ftd

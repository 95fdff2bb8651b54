// Tokenised datasets, kept by content: the second job on the same rows does not tokenise them
// again.
//
// A cache is a directory of stores, each named by its key: a hash of everything that its tokens
// depend on. A store is built under a temporary name, sealed with a manifest of sizes and hashes
// and renamed, so the leftovers of a killed process are recognised by their name and removed by the
// next one; a store that does not verify is removed and built again. One process builds at a time.
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/data/dataset_reader.h"
#include "lib/data/row_encoder.h"
#include "lib/data/row_report.h"
#include "lib/data/row_source.h"

namespace ftd {

inline constexpr int64_t kDefaultTokenCacheBytes = 20'000'000'000;

struct TokenizedDataset {
  std::unique_ptr<RowSource> rows;
  RowReport report;
  bool was_cached = false;
};

class TokenCache {
 public:
  // `dir` is made when it is not there. After a build, the stores that were not used for longest
  // are removed until all others fit into `max_bytes`; the newest is kept whatever its size.
  TokenCache(std::filesystem::path dir, int64_t max_bytes)
      : dir_(std::move(dir)), max_bytes_(max_bytes) {}

  // The rows to tokenise, and the encoder for it.
  struct Request {
    DatasetOptions dataset;  // each file with its sha256
    const RowEncoder* encoder = nullptr;
    int threads = 1;
    // Called now and then with bytes of the files; false ends the work with CANCELLED.
    std::function<bool(int64_t done, int64_t total)> progress;
  };
  // The rows of a dataset, out of the cache or made now. Errors: TokenizeRows', DISK_FULL,
  // PATH_NOT_WRITABLE.
  absl::StatusOr<TokenizedDataset> Get(const Request& request) const;

 private:
  // Returns the store.
  absl::StatusOr<std::filesystem::path> Build(const Request& request) const;
  void RemoveUnfinished() const;
  void RemoveLeastUsed(const std::filesystem::path& keep) const;

  std::filesystem::path dir_;
  int64_t max_bytes_;
};

// The hash of everything that the tokens depend on, with or without conversations among the rows.
std::string TokenKey(const TokenCache::Request& request, bool has_conversations);

}  // namespace ftd

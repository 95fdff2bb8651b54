// The least and the greatest loss of any rows of a step log, without reading all of them.
//
// What is known of each 64 rows is kept in a file beside the log, steps.log.summary. It is a cache:
// it may be removed or damaged at any time, and what it lacks is read from the log.
//
// Format, little-endian: pages of 64 entries, from the first row on. An entry is f64 least, f64
// greatest loss (+infinity for NaN), u32 and u32 which of its 64 rows have them. After the entries
// come u32 CRC-32 of them, of the log's identity and of the page's number, and u32 zero. The pages
// depend on the log alone, so two that write at once write the same bytes. The first page that
// fails its CRC is the end.
#pragma once

#include <cstdint>
#include <filesystem>
#include <limits>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/runlog/step_log.h"

namespace ftd {

// Rows with the least and the greatest loss. A NaN counts as the greatest loss, so that a
// divergence stays in sight. Of equal losses the first is the least and the last is the greatest.
struct StepExtremes {
  double least = std::numeric_limits<double>::infinity();
  double greatest = -std::numeric_limits<double>::infinity();
  int64_t least_row = -1, greatest_row = -1;  // -1: of no rows

  // Takes in rows that come after those so far.
  void Add(const StepExtremes& later);
};

// Used by one thread.
class StepSummary {
 public:
  // Whether the file is used, or everything is read from the log again.
  enum class Cache { kUsed, kIgnored };

  static constexpr int64_t kRowsOfPage = 4096;

  // Takes in all rows that count now, and keeps each new page in the file.
  // Errors: those of StepLogReader. A file that cannot be written is none.
  static absl::StatusOr<StepSummary> Open(const std::filesystem::path& log,
                                          Cache cache = Cache::kUsed);

  const StepLogReader& log() const { return log_; }
  // How many rows count.
  int64_t rows() const {
    return static_cast<int64_t>(entries_.size()) * kRows + static_cast<int64_t>(rest_.size());
  }
  // Extremes of the rows from `begin` up to `end`, without it. Requires: 0 <= begin < end <=
  // rows(). ABORTED if the log says otherwise than the file did: open it again, with kIgnored.
  absl::StatusOr<StepExtremes> Over(int64_t begin, int64_t end);

 private:
  static constexpr int64_t kRows = 64;  // of an entry
  static constexpr size_t kEntriesOfPage = kRowsOfPage / kRows;

  struct Entry {
    double least, greatest;
    uint32_t least_row, greatest_row;
  };
  struct Page {
    Entry entries[kEntriesOfPage];
    uint32_t crc, zero;
  };
  static_assert(sizeof(Page) == 64 * 24 + 8);

  StepSummary(std::filesystem::path path, StepLogReader log)
      : path_(std::move(path)), log_(std::move(log)) {}
  uint32_t CrcOf(const Page& page, size_t number) const;
  absl::Status Load();
  absl::Status ReadRest();
  void Keep(size_t pages) const;
  absl::Status LoadBlock(int64_t block);
  absl::Status Confirm(int64_t row, double loss) const;

  std::filesystem::path path_;
  StepLogReader log_;
  std::vector<Entry> entries_;
  std::vector<double> rest_;  // losses of the rows after the last entry's
  // The losses of the rows of one entry, which was needed last.
  int64_t block_ = -1;
  std::vector<double> block_losses_;
};

}  // namespace ftd

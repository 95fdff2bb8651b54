// The least and the greatest loss of any rows of a step log, without reading all of them.
//
// What is known of each 64 rows is kept in a file beside the log, steps.log.summary. It is a cache:
// it may be removed or damaged at any time, and what it lacks is read from the log.
//
// Format, little-endian: an entry for each 64 rows, from the first on: f64 least, f64 greatest loss
// (+infinity for NaN), u16 and u16 which of the rows have them, u32 CRC-32 of these, of the log's
// identity and of the entry's number. The entries depend on the log alone, so two that write at
// once write the same bytes. The first entry that fails its CRC is the end.
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
  // Whether the file is used, or made anew from the log.
  enum class Cache { kUsed, kMadeAnew };

  // Fewer new rows than this are not worth a write.
  static constexpr int64_t kWorthKeeping = 4096;

  // Takes in all rows that count now, and keeps what is new in the file.
  // Errors: those of StepLogReader. A file that cannot be written is none.
  static absl::StatusOr<StepSummary> Open(const std::filesystem::path& log,
                                          Cache cache = Cache::kUsed);

  const StepLogReader& log() const { return log_; }
  // How many rows count.
  int64_t rows() const {
    return static_cast<int64_t>(entries_.size()) * kRows + static_cast<int64_t>(rest_.size());
  }
  // Extremes of the rows from `begin` up to `end`, without it. Requires: 0 <= begin < end <=
  // rows(). ABORTED if the log says otherwise than the file did: open it again, made anew.
  absl::StatusOr<StepExtremes> Over(int64_t begin, int64_t end);

 private:
  static constexpr int64_t kRows = 64;  // of an entry

  struct Entry {
    double least, greatest;
    uint16_t least_row, greatest_row;
    uint32_t crc;
  };
  static_assert(sizeof(Entry) == 24);

  StepSummary(std::filesystem::path path, StepLogReader log)
      : path_(std::move(path)), log_(std::move(log)) {}
  uint32_t CrcOf(const Entry& entry, size_t index) const;
  absl::Status Load();
  absl::Status ReadRest();
  void Keep(size_t known) const;
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

// Counting what becomes of rows while they are encoded, batch by batch.
#pragma once

#include <cstdint>
#include <map>
#include <vector>

#include "lib/data/row_encoder.h"
#include "lib/data/row_report.h"
#include "lib/data/row_shape.h"

namespace ftd {

// Not thread-safe: each batch has its own, and they are merged in the order of their rows. Takes
// eight bytes a row, and a few for each length that occurs.
class RowTally {
 public:
  // The first `samples` rows that are kept are remembered.
  explicit RowTally(size_t samples = 3) : samples_wanted_(samples) {}

  // The next row. `kept`: it has something to learn.
  void Add(const Example& example, const EncodedRow& row, bool kept);
  // Those that follow.
  void Merge(const RowTally& later);

  const RowCounts& counts() const { return counts_; }
  // How many rows are still to be remembered.
  size_t samples_missing() const { return samples_wanted_ - samples_.size(); }
  // Of all rows so far, without those that were skipped.
  RowReport Report(const RowEncoder& encoder);

 private:
  struct Sample {
    int64_t row = 0;  // from 1
    TokenizedRow tokens;
  };
  int64_t rows() const { return counts_.kept + counts_.dropped; }

  size_t samples_wanted_;
  RowCounts counts_;
  std::map<int64_t, int64_t> rows_by_length_;  // kept rows, before the cut
  std::vector<uint64_t> hashes_;               // of the kept rows
  std::vector<Sample> samples_;
};

// The lengths of rows, given how many have each. `seq_length` 0: none is cut.
RowLengths LengthsOf(const std::map<int64_t, int64_t>& rows_by_length, int32_t seq_length);

// The text of a row in parts. Long parts lose their middle, and only the first are returned.
std::vector<RowSample::Part> PartsOf(const TokenizedRow& row, const Tokenizer& tokenizer,
                                     bool* shortened);

}  // namespace ftd

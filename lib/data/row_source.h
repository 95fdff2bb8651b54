// Rows of token ids, read one at a time: what training sees of a dataset.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"

namespace ftd {

// One row as training sees it.
struct TokenizedRow {
  std::vector<int32_t> input_ids;
  std::vector<int32_t> labels;  // same length; kIgnoreLabel where nothing is learned
};
inline constexpr int32_t kIgnoreLabel = -100;

// Labels that a row contributes to the loss: those that are not ignored, except the first token's,
// which no token predicts.
int64_t CountLabels(const TokenizedRow& row);

// The part of a row that is known without reading its tokens.
struct RowLength {
  int64_t tokens = 0;
  int64_t labels = 0;  // CountLabels of the row
};

// Rows by number, from 0. Implementations may be read from several threads at once.
class RowSource {
 public:
  virtual ~RowSource() = default;
  virtual int64_t size() const = 0;
  // Require: 0 ≤ row < size(). Errors: the rows' bytes cannot be read.
  virtual absl::StatusOr<RowLength> Length(int64_t row) const = 0;
  virtual absl::StatusOr<TokenizedRow> Read(int64_t row) const = 0;
};

// Rows that are all in memory.
class RowsInMemory : public RowSource {
 public:
  explicit RowsInMemory(std::vector<TokenizedRow> rows) : rows_(std::move(rows)) {}
  int64_t size() const override { return static_cast<int64_t>(rows_.size()); }
  absl::StatusOr<RowLength> Length(int64_t row) const override;
  absl::StatusOr<TokenizedRow> Read(int64_t row) const override;

 private:
  std::vector<TokenizedRow> rows_;
};

// Rows of another source in an order of their own: row i is its row order[i].
class ReorderedRows : public RowSource {
 public:
  ReorderedRows(std::shared_ptr<const RowSource> rows, std::vector<int64_t> order)
      : rows_(std::move(rows)), order_(std::move(order)) {}
  int64_t size() const override { return static_cast<int64_t>(order_.size()); }
  absl::StatusOr<RowLength> Length(int64_t row) const override {
    return rows_->Length(order_[static_cast<size_t>(row)]);
  }
  absl::StatusOr<TokenizedRow> Read(int64_t row) const override {
    return rows_->Read(order_[static_cast<size_t>(row)]);
  }

 private:
  std::shared_ptr<const RowSource> rows_;
  std::vector<int64_t> order_;
};

}  // namespace ftd

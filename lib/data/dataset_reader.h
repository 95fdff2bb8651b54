// The examples of a dataset: all of its files' rows in order, made into texts, bad rows counted.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/data/row_shape.h"
#include "lib/data/rows/row_reader.h"

namespace ftd {

// One file to read: its place, and the name that its user knows it by, whose extension gives the
// format (an upload is stored by its hash).
struct DatasetInput {
  std::filesystem::path path;
  std::string name;
  std::string sha256;  // lower-case hex; empty when not known
};

// The files to read, and the rules for their rows.
struct DatasetOptions {
  std::vector<DatasetInput> files;
  RowRules rules;
  int64_t limit = 0;          // > 0: the first rows that are good
  int64_t skip_bad_rows = 0;  // bad rows that are passed over before one is an error
  OpenColumnarRows open_columnar = nullptr;
  std::shared_ptr<const ChatSource> chat;  // renders conversations; nullptr: there may be none
};

// A row as it was read, before anything is made of it.
struct RawRow {
  Row row;
  size_t file = 0;  // of DatasetOptions::files
};

// Not thread-safe, but for Render.
class DatasetReader {
 public:
  // Requires: at least one file, and rules that JudgeRowRules accepts.
  explicit DatasetReader(DatasetOptions options);

  // Reads the next example; returns false after the last one. INVALID_ARGUMENT DATASET_INVALID,
  // naming file and line or row: a bad row more than may be skipped, or no rows at all.
  // UNIMPLEMENTED MODE_UNSUPPORTED: a columnar file in a build without Arrow. NOT_FOUND: a file is
  // gone. ChatSource's errors where a row is a conversation.
  absl::StatusOr<bool> Next(Example* example);

  // Next in parts, so that rows can be rendered on other threads. ReadRow reads the next row,
  // whatever it is worth; false after the last one. Settle, called for each row in their order,
  // counts it by how Render ended: true for a good row, false for a bad one that is skipped. End
  // says whether there was any; after the last row.
  absl::StatusOr<bool> ReadRow(RawRow* raw);
  absl::StatusOr<Example> Render(const RawRow& raw) const;
  absl::StatusOr<bool> Settle(const RawRow& raw, const absl::Status& rendered);
  absl::Status End() const;
  // Good rows that are still wanted.
  int64_t wanted() const;

  int64_t rows() const { return rows_; }  // examples given out
  int64_t skipped_rows() const { return skipped_; }
  // Why rows were skipped: the first few, each naming its place.
  const std::vector<std::string>& skipped_reasons() const { return reasons_; }
  // For progress: bytes of the files read, and in all.
  int64_t consumed_bytes() const;
  int64_t total_bytes() const { return total_bytes_; }

 private:
  // Opens the next file; false when all have been read.
  absl::StatusOr<bool> OpenNext();
  absl::Status Skip(const RawRow& raw, const absl::Status& problem);

  DatasetOptions options_;
  RowRenderer renderer_;
  std::unique_ptr<RowReader> reader_;  // of options_.files[next_file_ - 1]
  size_t next_file_ = 0;
  RawRow raw_;
  int64_t rows_ = 0, skipped_ = 0;
  std::vector<std::string> reasons_;
  int64_t total_bytes_ = 0, finished_bytes_ = 0;
};

}  // namespace ftd

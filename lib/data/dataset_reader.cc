#include "lib/data/dataset_reader.h"

#include <limits>
#include <system_error>

#include "lib/data/dataset_files.h"
#include "lib/data/rows/byte_stream.h"
#include "lib/data/rows/csv_rows.h"
#include "lib/data/rows/json_rows.h"

namespace ftd {
namespace {

constexpr size_t kReasonsKept = 5;

// Arrow's readers seek in the file, so no decompressor can stand before them.
absl::StatusOr<std::unique_ptr<RowReader>> OpenColumnar(
    const DatasetInput& file, OpenColumnarRows open,
    const std::vector<std::string>& nested_columns) {
  if (open == nullptr) {
    return Error(Reason::kModeUnsupported,
                 Concat(file.name, ": this build reads no Parquet or Arrow files; convert it to ",
                        "JSON Lines, or build with FTD_ARROW=ON"));
  }
  if (CompressionOfName(file.name) != Compression::kNone) {
    return DatasetInvalid(Concat(file.name, ": Parquet and Arrow files are compressed within; ",
                                 "decompress this one first"));
  }
  std::error_code error;
  if (!std::filesystem::exists(file.path, error))
    return absl::NotFoundError(Concat(file.path.string(), " is not there"));
  return open(file.path, file.name, nested_columns);
}

// Opens a file by the format that its name promises. Text formats may be compressed.
absl::StatusOr<std::unique_ptr<RowReader>> OpenRows(
    const DatasetInput& file, OpenColumnarRows open_columnar,
    const std::vector<std::string>& nested_columns) {
  FTD_ASSIGN_OR_RETURN(const DatasetFormat format, FormatOfName(file.name));
  if (IsColumnar(format)) return OpenColumnar(file, open_columnar, nested_columns);
  FTD_ASSIGN_OR_RETURN(std::unique_ptr<ByteStream> stream, OpenByteStream(file.path, file.name));
  if (format == DatasetFormat::kJson)
    return OpenJsonRows(std::move(stream), file.name, nested_columns);
  return OpenCsvRows(std::move(stream), file.name, format == DatasetFormat::kTsv ? '\t' : ',');
}

}  // namespace

DatasetReader::DatasetReader(DatasetOptions options)
    : options_(std::move(options)), renderer_(options_.rules, options_.chat) {
  // A file that is missing is reported when its turn to be read comes.
  for (const DatasetInput& file : options_.files) {
    std::error_code error;
    const auto size = std::filesystem::file_size(file.path, error);
    if (!error) total_bytes_ += static_cast<int64_t>(size);
  }
}

int64_t DatasetReader::consumed_bytes() const {
  return finished_bytes_ + (reader_ == nullptr ? 0 : reader_->consumed_bytes());
}

// The bytes of a finished file stay in the count, so that progress never goes back.
absl::StatusOr<bool> DatasetReader::OpenNext() {
  if (reader_ != nullptr) finished_bytes_ += reader_->consumed_bytes();
  reader_.reset();
  if (next_file_ == options_.files.size()) return false;
  FTD_ASSIGN_OR_RETURN(reader_, OpenRows(options_.files[next_file_], options_.open_columnar,
                                         NestedColumns(options_.rules)));
  ++next_file_;
  return true;
}

absl::StatusOr<bool> DatasetReader::Next(Example* example) {
  while (wanted() > 0) {
    FTD_ASSIGN_OR_RETURN(const bool found, ReadRow(&raw_));
    if (!found) break;
    absl::StatusOr<Example> made = Render(raw_);
    FTD_ASSIGN_OR_RETURN(const bool good, Settle(raw_, made.status()));
    if (!good) continue;
    *example = *std::move(made);
    return true;
  }
  FTD_RETURN_IF_ERROR(End());
  return false;
}

absl::StatusOr<bool> DatasetReader::ReadRow(RawRow* raw) {
  while (true) {
    if (reader_ != nullptr) {
      FTD_ASSIGN_OR_RETURN(const bool found, reader_->Next(&raw->row));
      raw->file = next_file_ - 1;
      if (found) return true;
    }
    FTD_ASSIGN_OR_RETURN(const bool opened, OpenNext());
    if (!opened) return false;
  }
}

// A row that could not be read and one that makes no text are alike bad rows.
absl::StatusOr<Example> DatasetReader::Render(const RawRow& raw) const {
  FTD_RETURN_IF_ERROR(raw.row.problem);
  return renderer_.Render(raw.row);
}

absl::StatusOr<bool> DatasetReader::Settle(const RawRow& raw, const absl::Status& rendered) {
  if (rendered.ok()) {
    ++rows_;
    return true;
  }
  // The model's fault and no row's: all other rows would have it too.
  if (ReasonOf(rendered) != Reason::kDatasetInvalid) return rendered;
  FTD_RETURN_IF_ERROR(Skip(raw, rendered));
  return false;
}

int64_t DatasetReader::wanted() const {
  return options_.limit > 0 ? options_.limit - rows_ : std::numeric_limits<int64_t>::max();
}

// Without a single row the run could only fail later and less clearly.
absl::Status DatasetReader::End() const {
  if (rows_ > 0) return absl::OkStatus();
  const std::string& name = options_.files[0].name;
  if (skipped_ > 0) {
    return DatasetInvalid(Concat(name, ": no row is good; the first bad one is ", reasons_[0]));
  }
  const std::string whose = options_.files.size() == 1
                                ? Concat(name, " has")
                                : Concat("the ", options_.files.size(), " files have");
  return DatasetInvalid(Concat(whose, " no rows; a dataset needs at least one"));
}

// Counts a bad row, or ends the reading with its problem when no more may be skipped.
absl::Status DatasetReader::Skip(const RawRow& raw, const absl::Status& problem) {
  const std::string& name = options_.files[raw.file].name;
  absl::Status named =
      Prefixed(problem, Concat(name, " ", raw.row.unit, " ", raw.row.number, ": "));
  if (skipped_ == options_.skip_bad_rows) {
    if (skipped_ == 0) return named;
    return DatasetInvalid(Concat(std::string(named.message()), "; ", skipped_,
                                 " bad rows before it",
                                 " were skipped, as many as skip_bad_rows allows"));
  }
  ++skipped_;
  if (reasons_.size() < kReasonsKept) reasons_.emplace_back(named.message());
  return absl::OkStatus();
}

}  // namespace ftd

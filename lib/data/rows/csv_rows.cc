#include "lib/data/rows/csv_rows.h"

#include <algorithm>
#include <string_view>
#include <vector>

#include "lib/base/utf8.h"
#include "lib/data/rows/byte_reader.h"

namespace ftd {
namespace {

bool IsBlank(std::string_view text) {
  return text.find_first_not_of(" \t") == std::string_view::npos;
}

// A machine with four states. Quotes matter only at a field's start, as for pandas: 5" is text.
class CsvRows : public RowReader {
 public:
  CsvRows(std::unique_ptr<ByteStream> stream, std::string name, char delimiter)
      : in_(std::move(stream)), name_(std::move(name)), delimiter_(delimiter) {}

  int64_t consumed_bytes() const override { return in_.consumed_bytes(); }

  absl::StatusOr<bool> Next(Row* row) override {
    if (columns_.empty()) {
      FTD_ASSIGN_OR_RETURN(const bool found, ReadRecord());
      if (!found) return false;
      FTD_RETURN_IF_ERROR(TakeHeader());
    }
    FTD_ASSIGN_OR_RETURN(const bool found, ReadRecord());
    if (!found) return false;
    row->unit = "line";
    row->number = record_line_;
    row->problem = Judge();
    row->cells.clear();
    for (size_t i = 0; i < columns_.size(); ++i) {
      const bool there = i < field_count_;
      row->cells.push_back({columns_[i], there ? Cell::Kind::kText : Cell::Kind::kNull,
                            // A field's memory moves into the row; StartField clears what is left.
                            there ? std::move(fields_[i]) : std::string()});
    }
    return true;
  }

 private:
  // The first record. A name that is there twice would make a row's field ambiguous.
  absl::Status TakeHeader() {
    columns_.assign(fields_.begin(), fields_.begin() + static_cast<ptrdiff_t>(field_count_));
    for (size_t i = 0; i < columns_.size(); ++i) {
      if (!IsValidUtf8(columns_[i]))
        return DatasetInvalid(Concat(name_, " line ", record_line_, ": the header is not UTF-8"));
      if (std::find(columns_.begin(), columns_.begin() + static_cast<ptrdiff_t>(i), columns_[i]) !=
          columns_.begin() + static_cast<ptrdiff_t>(i)) {
        return DatasetInvalid(Concat(name_, " line ", record_line_, ": the header has the column ",
                                     QuotedName(columns_[i]), " twice"));
      }
    }
    return absl::OkStatus();
  }

  // Returns what is wrong with the record just read.
  absl::Status Judge() const {
    if (field_count_ > columns_.size()) {
      return DatasetInvalid(Concat("has ", field_count_, " fields, but the header has ",
                                   columns_.size(), "; quote fields that hold the delimiter"));
    }
    for (size_t i = 0; i < field_count_; ++i) {
      if (!IsValidUtf8(fields_[i]))
        return DatasetInvalid(Concat(QuotedName(columns_[i]), " is not UTF-8"));
    }
    return absl::OkStatus();
  }

  // Reads the next record that is not a blank line into fields_; returns false at the end. A line
  // with "" alone has a field and is not blank.
  absl::StatusOr<bool> ReadRecord() {
    do {
      if (in_.Peek() == ByteReader::kEnd) {
        if (!in_.status().ok()) return in_.status();
        return false;
      }
      FTD_RETURN_IF_ERROR(ReadFields());
    } while (field_count_ == 1 && !quoted_ && IsBlank(fields_[0]));
    return true;
  }

  // kQuoteInQuoted: after a quote within a quoted field. A second one makes a literal quote,
  // anything else ends the quoting.
  enum class State { kFieldStart, kPlain, kQuoted, kQuoteInQuoted };

  absl::Status ReadFields() {
    record_line_ = Line();
    field_count_ = 0;
    quoted_ = false;
    StartField();
    State state = State::kFieldStart;
    int64_t quote_line = record_line_, size = 0;
    while (true) {
      const int64_t line = Line();
      const int c = in_.Get();
      if (c == ByteReader::kEnd) break;
      // A forgotten quote would otherwise swallow the rest of the file as one field.
      if (++size > kMaxRowBytes) {
        return DatasetInvalid(Concat(name_, " line ", record_line_, ": longer than ",
                                     kMaxRowBytes >> 20,
                                     " MiB; one row may not be that long: is a quote missing?"));
      }
      if (state != State::kQuoted && (c == '\n' || c == '\r')) {
        // CR LF, or CR alone, which the reader does not count as a line.
        if (c == '\r') in_.Peek() == '\n' ? in_.Get() : ++lone_returns_;
        return in_.status();
      }
      const State before = state;
      state = Take(static_cast<char>(c), state);
      if (state == State::kQuoted && before == State::kFieldStart) quote_line = line;
    }
    FTD_RETURN_IF_ERROR(in_.status());
    if (state != State::kQuoted) return absl::OkStatus();
    return DatasetInvalid(Concat(name_, " line ", quote_line, ": a quote is opened here, and the ",
                                 "file ends before it is closed"));
  }

  // Takes one character of a record, except its end.
  State Take(char c, State state) {
    std::string& field = fields_[field_count_ - 1];
    if (state == State::kQuoted) {
      if (c == '"') return State::kQuoteInQuoted;
      field.push_back(c);
      return State::kQuoted;
    }
    if (c == '"' && state == State::kFieldStart) {
      quoted_ = true;
      return State::kQuoted;
    }
    if (c == delimiter_) {
      StartField();
      return State::kFieldStart;
    }
    field.push_back(c);
    return c == '"' && state == State::kQuoteInQuoted ? State::kQuoted : State::kPlain;
  }

  int64_t Line() const { return in_.line() + lone_returns_; }

  void StartField() {
    if (field_count_ == fields_.size()) fields_.emplace_back();
    fields_[field_count_++].clear();
  }

  ByteReader in_;
  const std::string name_;
  const char delimiter_;
  std::vector<std::string> columns_;
  std::vector<std::string> fields_;  // the first field_count_ count; the others are spare memory
  size_t field_count_ = 0;
  bool quoted_ = false;
  int64_t record_line_ = 0;
  int64_t lone_returns_ = 0;  // lines that ended in CR alone
};

}  // namespace

std::unique_ptr<RowReader> OpenCsvRows(std::unique_ptr<ByteStream> stream, std::string name,
                                       char delimiter) {
  return std::make_unique<CsvRows>(std::move(stream), std::move(name), delimiter);
}

}  // namespace ftd

#include "lib/data/rows/json_rows.h"

#include <algorithm>
#include <string_view>

#include "lib/data/rows/byte_reader.h"
#include "lib/data/rows/json_row.h"

namespace ftd {
namespace {

constexpr std::string_view kBlank = " \t\r\n";

bool IsBlank(int c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

// JSON Lines, or one array of objects; the first character that is not blank decides. An array is
// read element by element, never as a whole.
class JsonRows : public RowReader {
 public:
  JsonRows(std::unique_ptr<ByteStream> stream, std::string name,
           std::vector<std::string> nested_columns)
      : in_(std::move(stream)),
        name_(std::move(name)),
        nested_columns_(std::move(nested_columns)) {}

  int64_t consumed_bytes() const override { return in_.consumed_bytes(); }

  absl::StatusOr<bool> Next(Row* row) override {
    if (kind_ == Kind::kUnknown) {
      SkipBlank();
      kind_ = in_.Peek() == '[' ? Kind::kArray : Kind::kLines;
      if (kind_ == Kind::kArray) in_.Get();
    }
    return kind_ == Kind::kArray ? NextElement(row) : NextLine(row);
  }

 private:
  enum class Kind { kUnknown, kLines, kArray };

  absl::StatusOr<bool> NextLine(Row* row) {
    std::string_view line;
    do {
      row->number = in_.line();
      if (!in_.GetLine(&line)) return AtEnd();
    } while (line.find_first_not_of(kBlank) == std::string_view::npos);
    row->unit = "line";
    // A line that is not JSON is a bad row, which may be skipped: the next line does not depend on
    // it.
    if (const auto position = ParseJsonRow(line, nested_columns_, row)) {
      row->problem =
          DatasetInvalid(Concat("not JSON at column ", *position, " (", row->problem.message(),
                                "); each line must be one JSON object"));
    }
    return true;
  }

  // Ends the reading: at the end, or at an error of the bytes.
  absl::StatusOr<bool> AtEnd() const {
    if (absl::IsOutOfRange(in_.status())) return TooLong();
    if (!in_.status().ok()) return in_.status();
    return false;
  }
  // Without a limit a file without line breaks would be read into memory as one line.
  absl::Status TooLong() const {
    return DatasetInvalid(Concat(name_, " line ", in_.line(), ": longer than ", kMaxRowBytes >> 20,
                                 " MiB; one row may not be that long"));
  }
  absl::Status NotJson(int64_t line, std::string_view reason) const {
    return DatasetInvalid(
        Concat(name_, " line ", line, ", row ", rows_ + 1, ": not JSON (", reason, ")"));
  }

  // An error of the bytes comes before one of the syntax: a file that was cut short is reported as
  // such.
  absl::StatusOr<bool> NextElement(Row* row) {
    if (ended_) return false;
    SkipBlank();
    int c = in_.Peek();
    if (c == ']') return EndArray();
    if (rows_ > 0) {
      if (c != ',' && c != ByteReader::kEnd) return NotJson(in_.line(), "no comma between rows");
      in_.Get();
      SkipBlank();
      c = in_.Peek();
    }
    if (c == ByteReader::kEnd) {
      if (!in_.status().ok()) return in_.status();
      return NotJson(in_.line(), "the array does not end");
    }
    const int64_t line = in_.line();
    if (!TakeElement()) return TooLong();
    row->unit = "row";
    row->number = rows_ + 1;
    // In an array an element that is not JSON ends the reading, since the place where the next one
    // begins is not known.
    if (const auto position = ParseJsonRow(element_, nested_columns_, row)) {
      if (!in_.status().ok()) return in_.status();
      const std::string_view before = std::string_view(element_).substr(0, *position);
      return NotJson(line + std::count(before.begin(), before.end(), '\n'),
                     std::string(row->problem.message()));
    }
    ++rows_;
    return true;
  }

  absl::StatusOr<bool> EndArray() {
    in_.Get();
    SkipBlank();
    ended_ = true;
    if (!in_.status().ok()) return in_.status();
    if (in_.Peek() != ByteReader::kEnd) return NotJson(in_.line(), "more after the array");
    return false;
  }

  // Reads one element's bytes: up to where the brackets that it opened are closed again, or, if it
  // opened none, to what ends a value. The parser decides whether they are JSON. Returns false if
  // they are too many.
  bool TakeElement() {
    element_.clear();
    size_t depth = 0;
    bool in_string = false;
    for (int c = in_.Peek(); c != ByteReader::kEnd; c = in_.Peek()) {
      if (!in_string && depth == 0 && !element_.empty() && (c == ',' || c == ']' || IsBlank(c)))
        return true;
      if (static_cast<int64_t>(element_.size()) >= kMaxRowBytes) return false;
      element_.push_back(static_cast<char>(in_.Get()));
      if (in_string) {
        // An escaped quote does not end the string.
        if (c == '\\' && in_.Peek() != ByteReader::kEnd)
          element_.push_back(static_cast<char>(in_.Get()));
        in_string = c != '"';
        continue;
      }
      in_string = c == '"';
      if (c == '{' || c == '[') ++depth;
      if (c != '}' && c != ']') continue;
      if (depth <= 1) return true;
      --depth;
    }
    return true;
  }

  void SkipBlank() {
    while (IsBlank(in_.Peek())) in_.Get();
  }

  ByteReader in_;
  const std::string name_;
  const std::vector<std::string> nested_columns_;
  Kind kind_ = Kind::kUnknown;
  int64_t rows_ = 0;     // of an array
  std::string element_;  // of an array
  bool ended_ = false;
};

}  // namespace

std::unique_ptr<RowReader> OpenJsonRows(std::unique_ptr<ByteStream> stream, std::string name,
                                        std::vector<std::string> nested_columns) {
  return std::make_unique<JsonRows>(std::move(stream), std::move(name), std::move(nested_columns));
}

}  // namespace ftd

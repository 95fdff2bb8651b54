#include "artifacts/dataset.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "artifacts/concat.h"
#include "artifacts/error.h"
#include "artifacts/file.h"
#include "artifacts/tokenizer/utf8.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using nlohmann::json;

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";
constexpr std::string_view kBlank = " \t\r\n";
constexpr size_t kQuoted = 120;  // bytes of the user's text that a message repeats

absl::Status Invalid(std::string_view message) {
  return Error(absl::StatusCode::kInvalidArgument, "DATASET_INVALID", message);
}

// The fields of a row that mean something; nullopt when absent or null.
struct Row {
  std::optional<std::string> instruction, input, output, text;

  std::optional<std::string>* Field(std::string_view name) {
    if (name == "instruction") return &instruction;
    if (name == "input") return &input;
    if (name == "output") return &output;
    return name == "text" ? &text : nullptr;
  }
};

// The text of a row, or what is wrong with it.
absl::StatusOr<std::string> Render(const Row& row) {
  const auto missing = [](const char* field) {
    return Invalid(
        Concat("\"", field, "\" is missing; an Alpaca row needs instruction, input, output"));
  };
  if (row.instruction.has_value() || (row.output.has_value() && !row.text.has_value())) {
    if (!row.instruction.has_value()) return missing("instruction");
    if (!row.output.has_value()) return missing("output");
    return RenderAlpaca(*row.instruction, row.input.value_or(""), *row.output);
  }
  if (row.text.has_value()) return *row.text;
  return Invalid(
      "neither \"instruction\" nor \"text\" is there; a row is {\"instruction\", \"input\", "
      "\"output\"} or {\"text\"}");
}

// Receives the parser's events for one row, or for an array of rows, and renders each row as it
// ends. What is nested within a row is skipped.
class RowReader : public nlohmann::json_sax<json> {
 public:
  // Rows lie at `depth` open containers: 0 for a line, 1 for an array. `limit` > 0 ends the reading
  // early.
  RowReader(size_t depth, int64_t limit, std::vector<std::string>* texts)
      : row_depth_(depth), limit_(limit), texts_(texts) {}

  // Why the parser was stopped; OK when it was not, or when the limit was reached.
  const absl::Status& status() const { return status_; }
  // True when status() is about JSON itself, found at byte syntax_position(), and not about a row.
  bool is_syntax() const { return is_syntax_; }
  size_t syntax_position() const { return syntax_position_; }
  int64_t rows() const { return rows_; }

  bool null() override { return Scalar(std::nullopt, false); }
  bool boolean(bool) override { return Scalar(std::nullopt, true); }
  bool number_integer(number_integer_t) override { return Scalar(std::nullopt, true); }
  bool number_unsigned(number_unsigned_t) override { return Scalar(std::nullopt, true); }
  bool number_float(number_float_t, const string_t&) override { return Scalar(std::nullopt, true); }
  bool binary(binary_t&) override { return Scalar(std::nullopt, true); }
  bool string(string_t& value) override { return Scalar(std::move(value), false); }
  bool key(string_t& name) override {
    if (depth_ == row_depth_ + 1) key_ = name;
    return true;
  }
  bool start_object(std::size_t) override {
    if (depth_ == row_depth_) row_ = Row();
    return Open(depth_ >= row_depth_);
  }
  bool start_array(std::size_t) override { return Open(depth_ != row_depth_); }
  bool end_array() override {
    --depth_;
    return true;
  }
  bool end_object() override {
    if (--depth_ != row_depth_) return true;
    absl::StatusOr<std::string> text = Render(row_);
    if (!text.ok()) return Stop(text.status());
    texts_->push_back(*std::move(text));
    ++rows_;
    return limit_ <= 0 || rows_ < limit_;
  }
  bool parse_error(std::size_t position, const std::string&,
                   const json::exception& problem) override {
    is_syntax_ = true;
    syntax_position_ = position;
    const std::string_view what = problem.what();
    const size_t begin = std::min(what.find("syntax error"), what.find("number overflow"));
    const std::string reason = RepairUtf8(what.substr(std::min(begin, what.size())));
    return Stop(
        Invalid(reason.size() <= kQuoted ? reason : RepairUtf8(reason.substr(0, kQuoted)) + "…"));
  }

 private:
  bool Stop(absl::Status status) {
    status_ = std::move(status);
    return false;
  }
  bool NotAString() { return Stop(Invalid(Concat("\"", key_, "\" must be a string"))); }
  bool Open(bool allowed) {
    if (!allowed) return Stop(Invalid("a row must be an object"));
    if (depth_ == row_depth_ + 1 && row_.Field(key_) != nullptr) return NotAString();
    ++depth_;
    return true;
  }
  bool Scalar(std::optional<std::string> value, bool wrong_type) {
    if (depth_ <= row_depth_) return Stop(Invalid("a row must be an object"));
    std::optional<std::string>* field = depth_ == row_depth_ + 1 ? row_.Field(key_) : nullptr;
    if (field == nullptr) return true;
    if (wrong_type) return NotAString();
    *field = std::move(value);
    return true;
  }

  const size_t row_depth_;
  const int64_t limit_;
  std::vector<std::string>* texts_;
  size_t depth_ = 0;
  int64_t rows_ = 0;
  std::string key_;
  Row row_;
  absl::Status status_;
  bool is_syntax_ = false;
  size_t syntax_position_ = 0;
};

absl::Status ReadLines(std::string_view bytes, std::string_view file_name, int64_t limit,
                       std::vector<std::string>* texts) {
  int64_t number = 0;
  for (size_t begin = 0; begin < bytes.size();) {
    const size_t end = std::min(bytes.find('\n', begin), bytes.size());
    const std::string_view line = bytes.substr(begin, end - begin);
    begin = end + 1;
    ++number;
    if (line.find_first_not_of(kBlank) == std::string_view::npos) continue;
    RowReader reader(0, 0, texts);
    json::sax_parse(line.begin(), line.end(), &reader);
    if (reader.is_syntax()) {
      return Invalid(Concat(file_name, " line ", number, ": not JSON at column ",
                            reader.syntax_position(), " (", reader.status().message(),
                            "); each line must be one JSON object"));
    }
    if (!reader.status().ok())
      return Prefixed(reader.status(), Concat(file_name, " line ", number, ": "));
    if (limit > 0 && static_cast<int64_t>(texts->size()) >= limit) break;
  }
  return absl::OkStatus();
}

absl::Status ReadArray(std::string_view bytes, std::string_view file_name, int64_t limit,
                       std::vector<std::string>* texts) {
  RowReader reader(1, limit, texts);
  json::sax_parse(bytes.begin(), bytes.end(), &reader);
  if (reader.is_syntax()) {
    const std::string_view before = bytes.substr(0, reader.syntax_position());
    return Invalid(Concat(file_name, " line ", 1 + std::count(before.begin(), before.end(), '\n'),
                          ", row ", reader.rows() + 1, ": not JSON (", reader.status().message(),
                          ")"));
  }
  if (!reader.status().ok())
    return Prefixed(reader.status(), Concat(file_name, " row ", reader.rows() + 1, ": "));
  return absl::OkStatus();
}

}  // namespace

std::string RenderAlpaca(std::string_view instruction, std::string_view input,
                         std::string_view output) {
  return Concat(
      "Below is an instruction that describes a task, paired with an input that provides further "
      "context. "
      "Write a response that appropriately completes the request.\n### Instruction: ",
      instruction, "\n\n### Input: ", input, "\n\n### Response: ", output);
}

absl::StatusOr<std::vector<std::string>> ReadTexts(const std::filesystem::path& path,
                                                   std::string_view file_name, int64_t limit) {
  FTD_ASSIGN_OR_RETURN(const MappedFile file, MappedFile::Open(path));
  std::string_view bytes = file.bytes();
  if (bytes.starts_with(kByteOrderMark)) bytes.remove_prefix(kByteOrderMark.size());
  const size_t first = bytes.find_first_not_of(kBlank);
  std::vector<std::string> texts;
  const bool is_array = first != std::string_view::npos && bytes[first] == '[';
  FTD_RETURN_IF_ERROR((is_array ? ReadArray : ReadLines)(bytes, file_name, limit, &texts));
  if (texts.empty())
    return Invalid(Concat(file_name, " has no rows; a dataset needs at least one"));
  return texts;
}

}  // namespace ftd

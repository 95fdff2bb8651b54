#include "lib/data/rows/json_row.h"

#include <algorithm>
#include <string>
#include <utility>
#include <vector>

#include "lib/base/utf8.h"
#include "lib/data/rows/json_writer.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using nlohmann::json;

constexpr size_t kQuoted = 120;  // bytes of the user's text that a message repeats

// Receives the parser's events and keeps the members of the outermost object. A container within it
// becomes one cell of kind kNested, whose text is written as the events come if it is to be kept.
class RowBuilder : public nlohmann::json_sax<json> {
 public:
  RowBuilder(std::span<const std::string> nested_columns, Row* row)
      : nested_columns_(nested_columns), row_(row) {}
  const std::optional<size_t>& syntax_position() const { return syntax_position_; }

  bool null() override { return Scalar(Cell::Kind::kNull, "", "null"); }
  bool boolean(bool value) override {
    return Scalar(Cell::Kind::kOther, "", value ? "true" : "false");
  }
  bool number_integer(number_integer_t value) override { return Integer(value); }
  bool number_unsigned(number_unsigned_t value) override { return Integer(value); }
  // Integers beyond 64 bits come here as well; `spelling` is the file's.
  bool number_float(number_float_t, const string_t& spelling) override {
    return Scalar(Cell::Kind::kOther, "", spelling);
  }
  bool binary(binary_t&) override { return false; }  // JSON has none
  bool string(string_t& value) override {
    if (depth_ == 0) return NotARow();
    if (nested_.has_value()) {
      nested_->String(value);
    } else if (depth_ == 1) {
      row_->cells.push_back({std::move(key_), Cell::Kind::kText, std::move(value)});
    }
    return true;
  }
  bool key(string_t& name) override {
    if (nested_.has_value()) {
      nested_->Key(name);
    } else if (depth_ == 1) {
      key_ = std::move(name);
    }
    return true;
  }
  bool start_object(std::size_t) override { return Open('{'); }
  bool start_array(std::size_t) override { return Open('['); }
  bool end_object() override { return Close('}'); }
  bool end_array() override { return Close(']'); }
  bool parse_error(std::size_t position, const std::string&,
                   const json::exception& problem) override {
    syntax_position_ = position;
    // nlohmann's message begins with an error number and a position within this row; the rest is
    // for the user.
    const std::string_view what = problem.what();
    const size_t begin = std::min(what.find("syntax error"), what.find("number overflow"));
    const std::string reason = RepairUtf8(what.substr(std::min(begin, what.size())));
    row_->problem = DatasetInvalid(
        reason.size() <= kQuoted ? reason : RepairUtf8(reason.substr(0, kQuoted)) + "…");
    return false;
  }

 private:
  bool NotARow() {
    row_->problem = DatasetInvalid("a row must be an object");
    return false;
  }
  // A row itself must be an object; an object or list within it counts as one cell.
  bool Open(char bracket) {
    if (depth_ == 0 && bracket != '{') return NotARow();
    if (depth_ == 1) {
      row_->cells.push_back({std::move(key_), Cell::Kind::kNested, {}});
      Cell& cell = row_->cells.back();
      if (std::find(nested_columns_.begin(), nested_columns_.end(), cell.name) !=
          nested_columns_.end())
        nested_.emplace(&cell.text);
    }
    if (nested_.has_value()) nested_->Open(bracket);
    ++depth_;
    return true;
  }
  bool Close(char bracket) {
    if (nested_.has_value()) nested_->Close(bracket);
    if (--depth_ == 1) nested_.reset();
    return true;
  }
  template <typename Value>
  bool Integer(Value value) {
    // Most integers lie in columns that are not kept, as those of token ids.
    if (depth_ > 1 && !nested_.has_value()) return true;
    const std::string digits = std::to_string(value);
    return Scalar(Cell::Kind::kInteger, digits, digits);
  }
  // A member of the row is a cell with `text`; within a container the value counts as spelled.
  bool Scalar(Cell::Kind kind, std::string_view text, std::string_view spelling) {
    if (depth_ == 0) return NotARow();
    if (depth_ == 1) row_->cells.push_back({std::move(key_), kind, std::string(text)});
    if (nested_.has_value()) nested_->Literal(spelling);
    return true;
  }

  std::span<const std::string> nested_columns_;
  Row* row_;
  size_t depth_ = 0;
  std::string key_;
  std::optional<JsonWriter> nested_;  // of the row's last cell, while it is read
  std::optional<size_t> syntax_position_;
};

// A row's text in which nothing is left that JSON does not know, and the row's members that had it.
struct Repaired {
  std::string text;
  std::vector<size_t> members;  // by number, from 0
};

// Python's json writes NaN, Infinity and -Infinity, and `datasets` reads them. They become other
// numbers of the same length here, so that positions in messages stay right. As a cell, a number
// with a fraction is of no use to training, whatever it is; within a list or an object it would be
// a made-up value, so the caller needs to know where they were.
Repaired WithoutNotNumbers(std::string_view text) {
  Repaired repaired{.text = std::string(text), .members = {}};
  std::string& out = repaired.text;
  bool in_string = false;
  int64_t depth = 0;
  size_t member = 0;
  for (size_t i = 0; i < out.size(); ++i) {
    if (in_string && out[i] == '\\') {
      ++i;
    } else if (out[i] == '"') {
      in_string = !in_string;
    } else if (!in_string) {
      if (out[i] == '{' || out[i] == '[') ++depth;
      if (out[i] == '}' || out[i] == ']') --depth;
      if (out[i] == ',' && depth == 1) ++member;
      for (const auto& [word, number] :
           {std::pair<std::string_view, const char*>("NaN", "0.5"), {"Infinity", "0.500000"}}) {
        if (!std::string_view(out).substr(i).starts_with(word)) continue;
        out.replace(i, word.size(), number);
        if (repaired.members.empty() || repaired.members.back() != member)
          repaired.members.push_back(member);
      }
    }
  }
  return repaired;
}

// Each member of a row has made one cell.
void DropNested(const std::vector<size_t>& members, Row* row) {
  for (const size_t member : members) {
    if (member >= row->cells.size()) continue;
    Cell& cell = row->cells[member];
    if (cell.kind == Cell::Kind::kNested) cell = {std::move(cell.name), Cell::Kind::kOther, {}};
  }
}

}  // namespace

// Stops at the first error of syntax. A row that is JSON but not an object has a problem as well,
// though no position.
std::optional<size_t> ParseJsonRow(std::string_view json_text,
                                   std::span<const std::string> nested_columns, Row* row) {
  const auto parse = [&](std::string_view text) {
    row->cells.clear();
    row->problem = absl::OkStatus();
    RowBuilder builder(nested_columns, row);
    json::sax_parse(text.begin(), text.end(), &builder);
    return builder.syntax_position();
  };
  const std::optional<size_t> position = parse(json_text);
  const bool may_not_be_numbers = json_text.find("NaN") != std::string_view::npos ||
                                  json_text.find("Infinity") != std::string_view::npos;
  if (!position || !may_not_be_numbers) return position;
  const Repaired repaired = WithoutNotNumbers(json_text);
  const std::optional<size_t> other_position = parse(repaired.text);
  DropNested(repaired.members, row);
  return other_position;
}

}  // namespace ftd

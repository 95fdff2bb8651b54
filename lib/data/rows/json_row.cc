#include "lib/data/rows/json_row.h"

#include <algorithm>
#include <string>

#include "lib/base/utf8.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using nlohmann::json;

constexpr size_t kQuoted = 120;  // bytes of the user's text that a message repeats

// Receives the parser's events and keeps the members of the outermost object. Containers within it
// become one cell of kind kOther and are not kept.
class RowBuilder : public nlohmann::json_sax<json> {
 public:
  explicit RowBuilder(Row* row) : row_(row) {}
  const std::optional<size_t>& syntax_position() const { return syntax_position_; }

  bool null() override { return Add(Cell::Kind::kNull, {}); }
  bool boolean(bool) override { return Add(Cell::Kind::kOther, {}); }
  bool number_integer(number_integer_t value) override {
    return Add(Cell::Kind::kInteger, std::to_string(value));
  }
  bool number_unsigned(number_unsigned_t value) override {
    return Add(Cell::Kind::kInteger, std::to_string(value));
  }
  bool number_float(number_float_t, const string_t&) override {
    return Add(Cell::Kind::kOther, {});
  }
  bool binary(binary_t&) override { return Add(Cell::Kind::kOther, {}); }
  bool string(string_t& value) override { return Add(Cell::Kind::kText, std::move(value)); }
  bool key(string_t& name) override {
    // Names of inner objects do not matter.
    if (depth_ == 1) key_ = std::move(name);
    return true;
  }
  bool start_object(std::size_t) override { return Open(/*is_row=*/depth_ == 0); }
  bool start_array(std::size_t) override { return Open(/*is_row=*/false); }
  bool end_object() override {
    --depth_;
    return true;
  }
  bool end_array() override {
    --depth_;
    return true;
  }
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
  // A row itself must be an object; an object or array within it counts as one cell.
  bool Open(bool is_row) {
    if (depth_ == 0 && !is_row) return NotARow();
    if (depth_ == 1) Add(Cell::Kind::kOther, {});
    ++depth_;
    return true;
  }
  bool Add(Cell::Kind kind, std::string text) {
    if (depth_ == 0) return NotARow();
    if (depth_ == 1) row_->cells.push_back({std::move(key_), kind, std::move(text)});
    return true;
  }

  Row* row_;
  size_t depth_ = 0;
  std::string key_;
  std::optional<size_t> syntax_position_;
};

// Python's json writes NaN, Infinity and -Infinity, and `datasets` reads them. They become other
// numbers of the same length here: a number with a fraction is of no use to training, whatever it
// is, and positions in messages stay right.
std::string WithoutNotNumbers(std::string_view text) {
  std::string out(text);
  bool in_string = false;
  for (size_t i = 0; i < out.size(); ++i) {
    if (in_string && out[i] == '\\') {
      ++i;
    } else if (out[i] == '"') {
      in_string = !in_string;
    } else if (!in_string) {
      for (const auto& [word, number] :
           {std::pair<std::string_view, const char*>("NaN", "0.5"), {"Infinity", "0.500000"}}) {
        if (std::string_view(out).substr(i).starts_with(word)) out.replace(i, word.size(), number);
      }
    }
  }
  return out;
}

}  // namespace

// Stops at the first error of syntax. A row that is JSON but not an object has a problem as well,
// though no position.
std::optional<size_t> ParseJsonRow(std::string_view json_text, Row* row) {
  const auto parse = [row](std::string_view text) {
    row->cells.clear();
    row->problem = absl::OkStatus();
    RowBuilder builder(row);
    json::sax_parse(text.begin(), text.end(), &builder);
    return builder.syntax_position();
  };
  const std::optional<size_t> position = parse(json_text);
  const bool may_not_be_numbers = json_text.find("NaN") != std::string_view::npos ||
                                  json_text.find("Infinity") != std::string_view::npos;
  return position && may_not_be_numbers ? parse(WithoutNotNumbers(json_text)) : position;
}

}  // namespace ftd

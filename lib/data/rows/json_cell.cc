#include "lib/data/rows/json_cell.h"

#include <string>

#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using nlohmann::json;

// Writes what the parser reads.
class Copier : public nlohmann::json_sax<json> {
 public:
  explicit Copier(JsonWriter* out) : out_(out) {}

  bool null() override { return Literal("null"); }
  bool boolean(bool value) override { return Literal(value ? "true" : "false"); }
  bool number_integer(number_integer_t value) override { return Literal(std::to_string(value)); }
  bool number_unsigned(number_unsigned_t value) override { return Literal(std::to_string(value)); }
  bool number_float(number_float_t, const string_t& spelling) override { return Literal(spelling); }
  bool binary(binary_t&) override { return false; }  // JSON has none
  bool string(string_t& value) override {
    out_->String(value);
    return true;
  }
  bool key(string_t& name) override {
    out_->Key(name);
    return true;
  }
  bool start_object(std::size_t) override { return Open('{'); }
  bool end_object() override { return Close('}'); }
  bool start_array(std::size_t) override { return Open('['); }
  bool end_array() override { return Close(']'); }
  bool parse_error(std::size_t, const std::string&, const json::exception&) override {
    return false;
  }

 private:
  bool Literal(std::string_view spelling) {
    out_->Literal(spelling);
    return true;
  }
  bool Open(char bracket) {
    out_->Open(bracket);
    return true;
  }
  bool Close(char bracket) {
    out_->Close(bracket);
    return true;
  }

  JsonWriter* out_;
};

}  // namespace

bool CopyJson(std::string_view json_text, JsonWriter* out) {
  Copier copier(out);
  return json::sax_parse(json_text.begin(), json_text.end(), &copier);
}

Cell JsonCell(std::string_view json_text, bool keep_nested) {
  const size_t begin = json_text.find_first_not_of(" \t\r\n");
  const char first = begin == std::string_view::npos ? '\0' : json_text[begin];
  if (first == '{' || first == '[') {
    Cell cell{.kind = Cell::Kind::kNested};
    JsonWriter writer(&cell.text);
    if (keep_nested && !CopyJson(json_text, &writer)) return {.kind = Cell::Kind::kOther};
    return cell;
  }
  const json value = json::parse(json_text, nullptr, /*allow_exceptions=*/false);
  if (value.is_null()) return {};
  if (value.is_string()) return {.kind = Cell::Kind::kText, .text = value.get<std::string>()};
  if (value.is_number_integer()) return {.kind = Cell::Kind::kInteger, .text = value.dump()};
  return {.kind = Cell::Kind::kOther};
}

}  // namespace ftd

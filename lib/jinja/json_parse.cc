// Values of JSON documents.
#include <algorithm>
#include <limits>

#include "absl/status/status.h"
#include "lib/base/concat.h"
#include "lib/base/utf8.h"
#include "lib/jinja/value.h"
#include "nlohmann/json.hpp"

namespace ftd::jinja {
namespace {

using nlohmann::json;

// Receives the parser's events. A container that is open waits on a stack for its elements, so that
// the parser's depth is not the C++ stack's.
class ValueBuilder : public nlohmann::json_sax<json> {
 public:
  absl::StatusOr<Value> Result() && {
    if (!status_.ok()) return status_;
    return std::move(result_);
  }

  bool null() override { return Add(Value()); }
  bool boolean(bool value) override { return Add(Value::Bool(value)); }
  bool number_integer(number_integer_t value) override { return Add(Value::Int(value)); }
  bool number_unsigned(number_unsigned_t value) override {
    if (value > uint64_t{std::numeric_limits<int64_t>::max()}) return TooLarge(Concat(value));
    return Add(Value::Int(static_cast<int64_t>(value)));
  }
  // An integer beyond nlohmann's comes as a float, too.
  bool number_float(number_float_t value, const string_t& spelling) override {
    if (spelling.find_first_of(".eE") == std::string::npos) return TooLarge(spelling);
    return Add(Value::Float(value));
  }
  bool string(string_t& text) override { return Add(Value::String(std::move(text))); }
  bool binary(binary_t&) override { return Fail("binary data is not JSON"); }
  bool start_object(std::size_t) override { return Open(/*is_dict=*/true); }
  bool start_array(std::size_t) override { return Open(/*is_dict=*/false); }
  bool key(string_t& name) override {
    open_.back().key = Value::String(std::move(name));
    return true;
  }
  bool end_object() override {
    std::vector<std::pair<Value, Value>> members = std::move(open_.back().members);
    open_.pop_back();
    return Add(Value::Dict(std::move(members)));
  }
  bool end_array() override {
    std::vector<Value> items = std::move(open_.back().items);
    open_.pop_back();
    return Add(Value::List(std::move(items)));
  }
  bool parse_error(std::size_t position, const std::string&, const json::exception&) override {
    return Fail(Concat("not JSON at byte ", position));
  }

 private:
  struct Container {
    bool is_dict = false;
    Value key;  // of the member that comes
    std::vector<Value> items;
    std::vector<std::pair<Value, Value>> members;
  };

  bool Fail(std::string_view message) {
    status_ = absl::InvalidArgumentError(ForAbseil(message));
    return false;
  }
  bool TooLarge(std::string_view number) {
    return Fail(Concat("the integer ", number, " does not fit into 64 bits"));
  }
  bool Open(bool is_dict) {
    if (open_.size() >= size_t{Value::kMaxDepth})
      return Fail(Concat("values nest deeper than ", Value::kMaxDepth, " levels"));
    open_.push_back({.is_dict = is_dict, .key = {}, .items = {}, .members = {}});
    return true;
  }
  bool Add(Value value) {
    if (open_.empty()) {
      result_ = std::move(value);
    } else if (open_.back().is_dict) {
      open_.back().members.emplace_back(std::move(open_.back().key), std::move(value));
    } else {
      open_.back().items.push_back(std::move(value));
    }
    return true;
  }

  std::vector<Container> open_;
  Value result_;
  absl::Status status_;
};

}  // namespace

absl::StatusOr<Value> Value::FromJson(std::string_view text) {
  ValueBuilder builder;
  json::sax_parse(text.begin(), text.end(), &builder);
  return std::move(builder).Result();
}

}  // namespace ftd::jinja

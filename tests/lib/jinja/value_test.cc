#include "lib/jinja/value.h"

#include <gtest/gtest.h>

#include "lib/jinja/objects.h"
#include "lib/jinja/template.h"
#include "lib/jinja/text.h"
#include "tests/support/expect_status.h"

namespace ftd::jinja {
namespace {

// What a template prints of a document.
std::string Printed(std::string_view document, std::string_view source = "{{ v }}") {
  const auto value = Value::FromJson(document);
  EXPECT_OK(value);
  const auto parsed = Template::Parse(source);
  EXPECT_OK(parsed);
  if (!value.ok() || !parsed.ok()) return "";
  const auto rendered = parsed->Render(Value::Dict({{Value::String("v"), *value}}), {});
  EXPECT_OK(rendered);
  return rendered.ok() ? rendered->text : "";
}

TEST(Value, FromJson) {
  const struct {
    const char* what;
    const char* document;
    const char* printed;
  } cases[] = {
      {"names of Python", "[null, true, false]", "[None, True, False]"},
      {"numbers", "[1, -2, 1.0, 1e16, 1e-05, 0.1]", "[1, -2, 1.0, 1e+16, 1e-05, 0.1]"},
      {"quotes", R"(["it's", "\"", "'\""])", R"(["it's", '"', '\'"'])"},
      {"what is not printable", R"(["\u0000\u007f\u00a0\ud83d\ude00"])", "['\\x00\\x7f\\xa0😀']"},
      {"order of keys", R"({"b": 1, "a": {"z": [], "y": {}}})",
       "{'b': 1, 'a': {'z': [], 'y': {}}}"},
      {"a text as itself", R"("a'b")", "a'b"},
  };
  for (const auto& row : cases) EXPECT_EQ(Printed(row.document), row.printed) << row.what;
}

TEST(Value, FromJsonRefuses) {
  const std::string open(Value::kMaxDepth, '['), close(Value::kMaxDepth, ']');
  EXPECT_OK(Value::FromJson(open + close));
  const struct {
    std::string document, message;
  } cases[] = {
      {"[" + open + close + "]", "nest deeper than 200 levels"},
      {std::string(100000, '['), "nest deeper than 200 levels"},
      {"18446744073709551615", "the integer 18446744073709551615 does not fit into 64 bits"},
      {"[-123456789012345678901]", "does not fit into 64 bits"},
      {"\"\xff\"", "not JSON at byte 2"},
      {R"({"a": NaN})", "not JSON at byte"},
      {R"("\ud800")", "not JSON at byte"},
      {"1 2", "not JSON at byte 3"},
      {"", "not JSON at byte 1"},
  };
  for (const auto& row : cases) {
    EXPECT_ERROR(Value::FromJson(row.document), absl::StatusCode::kInvalidArgument, "",
                 row.message);
  }
}

TEST(Value, KeysOfDicts) {
  std::vector<std::pair<Value, Value>> items;
  items.reserve(102);
  for (int i = 0; i < 100; ++i) items.emplace_back(Value::Int(i % 50), Value::Int(i));
  items.emplace_back(Value::Float(7.0), Value::String("seven"));
  items.emplace_back(Value::Bool(true), Value::String("one"));
  const Value value = Value::Dict(items);
  const auto& dict = value.As<DictObject>();
  ASSERT_EQ(dict.items.size(), 50u) << "equal keys are one";
  EXPECT_EQ(dict.items[49].first.AsInt(), 49) << "the first of equal keys gives the place";
  EXPECT_EQ(dict.items[*dict.Find(Value::Int(49))].second.AsInt(), 99) << "the last the value";
  EXPECT_EQ(dict.items[*dict.Find(Value::Int(7))].second.AsString(), "seven");
  EXPECT_EQ(dict.items[*dict.Find(Value::Float(1))].second.AsString(), "one");
  EXPECT_FALSE(dict.Find(Value::Int(50)));
  EXPECT_FALSE(dict.Find(std::string_view("7")));
}

TEST(Value, NumbersHaveOneHash) {
  EXPECT_EQ(HashOf(Value::Int(1)), HashOf(Value::Float(1)));
  EXPECT_EQ(HashOf(Value::Int(1)), HashOf(Value::Bool(true)));
  EXPECT_EQ(HashOf(Value::Float(0)), HashOf(Value::Float(-0.0)));
  EXPECT_FALSE(HashOf(Value::List({}))) << "a list cannot be a key";
  EXPECT_FALSE(HashOf(Value::Tuple({Value::List({})}))) << "nor can a tuple that holds one";
}

TEST(Value, FloatsPrintTheirShortestDigits) {
  const struct {
    double value;
    const char* text;
  } cases[] = {{0.1, "0.1"},
               {1.0, "1.0"},
               {-0.0, "-0.0"},
               {1e15, "1000000000000000.0"},
               {1e16, "1e+16"},
               {0.0001, "0.0001"},
               {0.00001, "1e-05"},
               {5e-324, "5e-324"},
               {1.7976931348623157e308, "1.7976931348623157e+308"},
               {1.0 / 3, "0.3333333333333333"}};
  for (const auto& row : cases) EXPECT_EQ(ReprOfFloat(row.value), row.text);
}

}  // namespace
}  // namespace ftd::jinja

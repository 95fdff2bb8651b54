#include "lib/base/json.h"

#include <gtest/gtest.h>

namespace ftd {
namespace {

TEST(ParseJsonObject, TakesObjectsOnly) {
  for (const char* text : {"", "{", "[]", "1", "null", "\"{}\"", "{} x", "{\"a\":\"\xff\"}"}) {
    EXPECT_FALSE(ParseJsonObject(text).has_value()) << text;
  }
  EXPECT_EQ(ParseJsonObject(R"( {"b": 1, "a": [2]} )").value().dump(), R"({"a":[2],"b":1})");
  // An ordered one keeps the order of the text.
  EXPECT_EQ(ParseJsonObject<nlohmann::ordered_json>(R"({"b": 1, "a": 2})").value().dump(),
            R"({"b":1,"a":2})");
}

TEST(FindField, NullIsAbsent) {
  const nlohmann::json object = {{"a", 1}, {"b", nullptr}, {"c", false}};
  EXPECT_EQ(*FindField(object, "a"), 1);
  EXPECT_EQ(FindField(object, "b"), nullptr);
  EXPECT_EQ(*FindField(object, "c"), false);
  EXPECT_EQ(FindField(object, "d"), nullptr);
  EXPECT_EQ(FindField(nlohmann::json::array({"a"}), "a"), nullptr);
  EXPECT_EQ(FindField(nlohmann::json(), "a"), nullptr);
}

TEST(IntegerOr, TakesWhatFits) {
  const auto object = nlohmann::json::parse(
      R"({"most": 9223372036854775807, "over": 9223372036854775808, "least": -9223372036854775808,
          "real": 1.0, "huge": 1e80, "text": "1"})");
  EXPECT_EQ(IntegerOr(object, "most", 7), std::numeric_limits<int64_t>::max());
  EXPECT_EQ(IntegerOr(object, "least", 7), std::numeric_limits<int64_t>::min());
  for (const char* name : {"over", "real", "huge", "text", "absent"}) {
    EXPECT_EQ(IntegerOr(object, name, 7), 7) << name;
  }
}

}  // namespace
}  // namespace ftd

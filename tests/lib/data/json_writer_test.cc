#include "lib/data/rows/json_writer.h"

#include <gtest/gtest.h>

#include "nlohmann/json.hpp"

namespace ftd {
namespace {

TEST(JsonWriter, CommasComeByThemselves) {
  std::string text;
  JsonWriter writer(&text);
  writer.Open('[');
  writer.Literal("1");
  writer.Open('{');
  writer.Key("a");
  writer.Open('[');
  writer.Close(']');
  writer.Key("b,");
  writer.String("[");
  writer.Key("{");
  writer.Literal("null");
  writer.Close('}');
  writer.String(":");
  writer.Open('{');
  writer.Close('}');
  writer.Close(']');
  EXPECT_EQ(text, R"([1,{"a":[],"b,":"[","{":null},":",{}])");
}

TEST(JsonWriter, EveryCharacterReadsBack) {
  std::string all;
  for (int c = 0; c < 0x80; ++c) all.push_back(static_cast<char>(c));
  all += "é\u2028\u2029\uFFFF🙂";
  std::string text;
  JsonWriter(&text).String(all);
  EXPECT_EQ(nlohmann::json::parse(text).get<std::string>(), all);
  // nlohmann escapes what must be, and no more than that.
  EXPECT_EQ(text, nlohmann::json(all).dump());
}

}  // namespace
}  // namespace ftd

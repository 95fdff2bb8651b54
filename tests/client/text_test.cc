#include "client/text/text.h"

#include <gtest/gtest.h>

#include "client/text/table.h"
#include "lib/base/short_bytes.h"

namespace ftd {
namespace {

TEST(Printable, TakesTheTeethOutOfHostileText) {
  EXPECT_EQ(Printable("plain ünïcode 日本 😀"), "plain ünïcode 日本 😀");
  EXPECT_EQ(Printable("\x1b[31mred\x07"), "?[31mred?");
  EXPECT_EQ(Printable("a\nb\tc\r"), "a b c ");
  EXPECT_EQ(Printable(std::string("nul\0!", 5)), "nul?!");
  EXPECT_EQ(Printable("csi \xc2\x9b"
                      "31m"),
            "csi ?31m");  // U+009B is CSI in one code
  const std::string right_to_left = {'\xe2', '\x80', '\xae'};
  EXPECT_EQ(Printable("abc" + right_to_left + "cba"),
            "abc?cba");  // right-to-left override
  EXPECT_EQ(Printable("\xff\xc0\x80\xed\xa0\x80\xf5"),
            "???????");  // no UTF-8: overlong, surrogate, too large
  EXPECT_EQ(Printable("cut \xe2\x82"), "cut ??");
  EXPECT_EQ(PrintableLines("a\nb\x1b"), "a\nb?");
}

TEST(DisplayWidth, CountsColumns) {
  EXPECT_EQ(DisplayWidth("abc"), 3);
  EXPECT_EQ(DisplayWidth("ünï"), 3);
  EXPECT_EQ(DisplayWidth("e\xcc\x81"), 1);  // combining acute
  EXPECT_EQ(DisplayWidth("日本"), 4);
  EXPECT_EQ(DisplayWidth("😀"), 2);
  EXPECT_EQ(DisplayWidth("⣿█"), 2);
}

TEST(Shorten, NeverWiderThanAsked) {
  const std::string text = "ab日本cd";
  for (int columns = 0; columns < 12; ++columns) {
    EXPECT_LE(DisplayWidth(Shorten(text, columns)), columns) << columns;
  }
  EXPECT_EQ(Shorten(text, 8), text);
  EXPECT_EQ(Shorten(text, 5), "ab日…");
  EXPECT_EQ(Shorten(text, 4), "ab…");
  EXPECT_EQ(Shorten("abcdef", 4, false), "abc~");
}

TEST(ShortDuration, Steps) {
  const std::pair<double, const char*> kRows[] = {
      {-5, "0s"},       {0.4, "0s"},       {59.4, "59s"},          {59.6, "1m00s"},
      {80, "1m20s"},    {3599, "59m59s"},  {3600, "1h00m"},        {11100, "3h05m"},
      {86400, "1d00h"}, {187200, "2d04h"}, {1e300, "11574074d01h"}};
  for (const auto& [seconds, text] : kRows) EXPECT_EQ(ShortDuration(seconds), text) << seconds;
}

TEST(ShortBytes, DecimalUnits) {
  const std::pair<int64_t, const char*> kRows[] = {
      {0, "0 B"},         {999, "999 B"},        {1000, "1.0 kB"},     {999949, "999.9 kB"},
      {999950, "1.0 MB"}, {12345678, "12.3 MB"}, {INT64_MAX, "9.2 EB"}};
  for (const auto& [bytes, text] : kRows) EXPECT_EQ(ShortBytes(bytes), text) << bytes;
}

TEST(Table, AlignsByColumnsNotBytes) {
  EXPECT_EQ(Table({"A", "B"}, {{"日本", "x"}, {"üü", ""}}), "A     B\n日本  x\nüü\n");
  GrowingTable table({"A", "B"});
  EXPECT_EQ(table.Lines({{"aa", "b"}}), "A   B\naa  b\n");
  EXPECT_EQ(table.Lines({{"a", "b"}, {"aaa", "b"}}), "a    b\naaa  b\n");
  EXPECT_EQ(table.Lines({}), "");
}

TEST(KeyValues, LeavesEmptyOnesOutAndIndentsLines) {
  EXPECT_EQ(KeyValues({{"id", "1"}, {"none", ""}, {"message", "a\nb\x1b[2J"}}),
            "id       1\nmessage  a\n         b?[2J\n");
}

}  // namespace
}  // namespace ftd

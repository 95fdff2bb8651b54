#include "lib/base/utf8.h"

#include "gtest/gtest.h"

namespace ftd {
namespace {

// The codec itself is compared with Python's in utf8_test.py.
TEST(Utf8, InvalidBytesAreEscaped) {
  EXPECT_EQ(EscapeInvalidUtf8("rows_\xE9.jsonl"), "rows_\\xE9.jsonl");
  EXPECT_EQ(EscapeInvalidUtf8("é\xE2\x82"), "é\\xE2\\x82");
  EXPECT_EQ(EscapeInvalidUtf8(""), "");
}

TEST(Utf8, LongTextIsShortenedInTheMiddle) {
  EXPECT_EQ(Shortened("abc", 3), "abc");
  EXPECT_EQ(Shortened("abcdefghi", 6), "abcd…hi");
  for (size_t most = 0; most < 20; ++most) {
    const std::string cut = Shortened("ééééééé日日日日", most);
    EXPECT_TRUE(IsValidUtf8(cut)) << most;
    EXPECT_LE(cut.size(), most + std::string("…").size());
  }
}

TEST(Utf8, CutsAreBetweenCodePoints) {
  EXPECT_EQ(Utf8Prefix("日本", 2), "");
  EXPECT_EQ(Utf8Prefix("日本", 3), "日");
  EXPECT_EQ(Utf8Prefix("日本", 5), "日");
  EXPECT_EQ(Utf8Prefix("日本", 6), "日本");
  EXPECT_EQ(FromFirstCodePoint("\x97\xA5本"), "本");
  EXPECT_EQ(FromFirstCodePoint("日本"), "日本");
  EXPECT_EQ(FromFirstCodePoint("\x80\x80\x80\x80"), "\x80");  // no cut leaves four
  EXPECT_EQ(FromFirstCodePoint(""), "");
}

}  // namespace
}  // namespace ftd

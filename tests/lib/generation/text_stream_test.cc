#include "lib/generation/text_stream.h"

#include <memory>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "lib/base/utf8.h"
#include "tests/support/small_tokenizer.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

constexpr int32_t kEos = 262;

class TextStreamTest : public ::testing::Test {
 protected:
  // From a folder, which names the special tokens.
  static std::unique_ptr<Tokenizer> Load() {
    const TempDir dir;
    dir.Write("tokenizer.json", SmallTokenizer().dump());
    dir.Write("tokenizer_config.json", R"({"bos_token": "<bos>", "eos_token": "<eos>"})");
    auto tokenizer = Tokenizer::Load(dir.path());
    EXPECT_TRUE(tokenizer.ok()) << tokenizer.status();
    return std::move(tokenizer).value();
  }

  // What comes for each token, then for the end.
  std::vector<std::string> Pieces(const std::vector<int32_t>& tokens,
                                  std::vector<std::string> stops = {}) {
    TextStream stream(*tokenizer_, tokenizer_->Encode("so:", true), std::move(stops));
    std::vector<std::string> pieces;
    for (const int32_t token : tokens) {
      pieces.push_back(stream.Add(token));
      EXPECT_TRUE(IsValidUtf8(pieces.back())) << pieces.back();
      if (stream.stopped()) break;
    }
    pieces.push_back(stream.Finish());
    stopped_ = stream.stopped();
    return pieces;
  }

  static std::string Joined(const std::vector<std::string>& pieces) {
    std::string text;
    for (const std::string& piece : pieces) text += piece;
    return text;
  }

  std::vector<int32_t> Bytes(const std::string& text) {
    std::vector<int32_t> tokens;
    for (const char byte : text) tokens.push_back(static_cast<unsigned char>(byte));
    return tokens;
  }

  std::unique_ptr<Tokenizer> tokenizer_ = Load();
  bool stopped_ = false;
};

TEST_F(TextStreamTest, EachTokenGivesItsText) {
  EXPECT_EQ(Pieces({259, 260, 'o'}), (std::vector<std::string>{"hello", " w", "o", ""}));
}

TEST_F(TextStreamTest, ACharacterComesWhenItIsWhole) {
  EXPECT_EQ(Pieces(Bytes("a€b")), (std::vector<std::string>{"a", "", "", "€", "b", ""}));
}

TEST_F(TextStreamTest, BytesThatMakeNoCharacterAreReplaced) {
  EXPECT_EQ(Joined(Pieces(Bytes("a\xE2\x82"))), "a\xEF\xBF\xBD");
  EXPECT_EQ(Joined(Pieces(Bytes("\xFF"
                                "a"))),
            "\xEF\xBF\xBD"
            "a");
}

TEST_F(TextStreamTest, SpecialTokensHaveNoText) {
  EXPECT_EQ(Joined(Pieces({'a', kEos, 'b'})), "ab");
}

TEST_F(TextStreamTest, StopsBeforeAStopStringThatTokensShare) {
  // "llo w" begins inside "hello" and ends in the next token.
  EXPECT_EQ(Joined(Pieces({'x', 259, 260, 'o'}, {"llo w"})), "xhe");
  EXPECT_TRUE(stopped_);
}

TEST_F(TextStreamTest, WhatMayBeAStopStringIsHeldBackUntilItIsNot) {
  EXPECT_EQ(Pieces(Bytes("a##b"), {"###"}), (std::vector<std::string>{"a", "", "", "##b", ""}));
  EXPECT_FALSE(stopped_);
  EXPECT_EQ(Joined(Pieces(Bytes("a##"), {"###"})), "a##");  // the end makes it certain
  EXPECT_EQ(Joined(Pieces(Bytes("a####"), {"###"})), "a");
}

TEST_F(TextStreamTest, TheFirstOfSeveralStopStringsCounts) {
  EXPECT_EQ(Joined(Pieces(Bytes("one two three"), {"three", "two"})), "one ");
  EXPECT_EQ(Joined(Pieces({259}, {"lo", "ell"})), "h");
  EXPECT_TRUE(stopped_);
}

// SentencePiece's decoders drop the space before a text's first word, which is not the answer's.
TEST(TextStreamOfWordsTest, AWordAfterThePromptKeepsItsSpace) {
  const nlohmann::json document = {
      {"version", "1.0"},
      {"added_tokens", nlohmann::json::array()},
      {"normalizer", nullptr},
      {"pre_tokenizer",
       {{"type", "Metaspace"},
        {"replacement", "▁"},
        {"prepend_scheme", "always"},
        {"split", true}}},
      {"post_processor", nullptr},
      {"decoder",
       {{"type", "Metaspace"},
        {"replacement", "▁"},
        {"prepend_scheme", "always"},
        {"split", true}}},
      {"model",
       {{"type", "BPE"},
        {"unk_token", nullptr},
        {"vocab", {{"▁", 0}, {"a", 1}, {"b", 2}, {"▁a", 3}, {"▁b", 4}}},
        {"merges", nlohmann::json::array(
                       {nlohmann::json::array({"▁", "a"}), nlohmann::json::array({"▁", "b"})})}}}};
  const auto tokenizer = Tokenizer::Parse(document.dump());
  ASSERT_TRUE(tokenizer.ok()) << tokenizer.status();
  TextStream stream(**tokenizer, {3}, {});
  EXPECT_EQ(stream.Add(4), " b");
  EXPECT_EQ(stream.Add(1), "a");
  EXPECT_EQ(stream.Add(4), " b");
}

}  // namespace
}  // namespace ftd

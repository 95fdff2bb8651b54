// What the parity test, which compares with `tokenizers` itself, does not reach: bad files, invalid
// UTF-8, threads.
#include "lib/tokenizer/tokenizer.h"

#include <thread>

#include "lib/base/concat.h"
#include "tests/support/expect_status.h"
#include "tests/support/small_tokenizer.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

using nlohmann::json;
using testing::ElementsAre;
using testing::IsEmpty;
std::unique_ptr<Tokenizer> Small() { return *Tokenizer::Parse(SmallTokenizer().dump()); }

TEST(Tokenizer, EncodesAndDecodes) {
  const auto tokenizer = Small();
  EXPECT_THAT(tokenizer->Encode("hello w<eos>", true), ElementsAre(261, 259, 260, 262));
  EXPECT_THAT(tokenizer->Encode("hello", false), ElementsAre(259));
  EXPECT_THAT(tokenizer->Encode("", true), ElementsAre(261));
  EXPECT_EQ(tokenizer->Decode({261, 259, 260, 262, 9999, -1}), "<bos>hello w<eos>");
  EXPECT_EQ(tokenizer->TokenToId("<eos>"), 262);
  EXPECT_EQ(tokenizer->TokenToId("hello"), 259);
  EXPECT_EQ(tokenizer->TokenToId("nothing"), -1);
  EXPECT_EQ(tokenizer->VocabSize(), 263);
}

TEST(Tokenizer, EncodeAtNamesTheTokensOfCharacters) {
  const auto tokenizer = Small();
  std::vector<size_t> tokens = {7};
  EXPECT_THAT(tokenizer->EncodeAt("hello w<eos>€", {0, 4, 5, 6, 7, 11, 12, 15}, &tokens),
              ElementsAre(259, 260, 262, 0xE2, 0x82, 0xAC));
  EXPECT_THAT(tokens, ElementsAre(0, 0, 1, 1, 2, 2, 3, 6));
  // Only one word of the two is looked at closely; the other comes from the cache.
  EXPECT_THAT(tokenizer->EncodeAt("hello w", {6}, &tokens), ElementsAre(259, 260));
  EXPECT_THAT(tokens, ElementsAre(1));
  EXPECT_THAT(tokenizer->EncodeAt("hello", {}, &tokens), ElementsAre(259));
  EXPECT_THAT(tokens, IsEmpty());
  EXPECT_THAT(tokenizer->EncodeAt("", {0, 0}, &tokens), IsEmpty());
  EXPECT_THAT(tokens, ElementsAre(0, 0));
}

// The offsets of `tokenizers` are of no use here, so that the parity test leaves this out.
TEST(Tokenizer, EncodeAtCountsADroppedCharacterWithTheNextToken) {
  json document = SmallTokenizer();
  document["model"]["vocab"].erase("x");
  const auto tokenizer = *Tokenizer::Parse(document.dump());
  std::vector<size_t> tokens;
  EXPECT_THAT(tokenizer->EncodeAt("xxaxb w ax", {0, 1, 2, 3, 4, 5, 7, 9}, &tokens),
              ElementsAre('a', 'b', 260, ' ', 'a'));
  EXPECT_THAT(tokens, ElementsAre(0, 0, 0, 1, 1, 2, 3, 5));
}

// The replacement rule is that of Unicode's chapter 3.9 and of Rust: one U+FFFD for each maximal
// part.
TEST(Tokenizer, InvalidUtf8BecomesTheReplacementCharacter) {
  const struct {
    std::string bytes, repaired;
  } kTable[] = {
      {"a\xff"
       "b",
       "a�b"},
      {"\xc0\x80", "��"},
      {"\xed\xa0\x80", "���"},
      {"\xf4\x90\x80\x80", "����"},
      {"\xe2\x82", "�"},
      {"\xe2\x82x", "�x"},
      {"\xf0\x9f\x99", "�"},
      {"\xf0\x9f\x99\x82", "🙂"},
      {"\x80", "�"},
      {"\xe0\x80\x80", "���"},
      {"\xf5", "�"},
      {std::string("a\0b", 3), std::string("a\0b", 3)},
  };
  const auto tokenizer = Small();
  for (const auto& row : kTable) {
    EXPECT_EQ(tokenizer->Encode(row.bytes, false), tokenizer->Encode(row.repaired, false))
        << row.repaired;
    EXPECT_EQ(tokenizer->Decode(tokenizer->Encode(row.bytes, false)), row.repaired);
  }
}

TEST(Tokenizer, ThreadsGetWhatOneGets) {
  const auto tokenizer = Small();
  std::vector<std::string> texts;
  texts.reserve(500);
  for (int i = 0; i < 500; ++i) texts.push_back(Concat("hello w", i * 7919, " hell o\n"));
  std::vector<std::vector<int32_t>> expected;
  expected.reserve(texts.size());
  for (const auto& text : texts) expected.push_back(tokenizer->Encode(text, true));
  std::vector<int> wrong(4, 0);
  {
    std::vector<std::jthread> threads;
    threads.reserve(4);
    for (int t = 0; t < 4; ++t) {
      threads.emplace_back([&, t] {
        for (size_t i = 0; i < texts.size(); ++i)
          wrong[t] += tokenizer->Encode(texts[i], true) != expected[i];
      });
    }
  }
  EXPECT_THAT(wrong, ElementsAre(0, 0, 0, 0));
}

TEST(Tokenizer, WhatIsNotSupportedIsNamed) {
  const struct {
    const char* pointer;
    json value;
    const char* text;
  } kTable[] = {
      {"/model", {{"type", "Unigram"}, {"vocab", json::array()}}, "Unigram"},
      {"/model/type", "WordPiece", "WordPiece"},
      {"/model/dropout", 0.1, "dropout"},
      {"/model/continuing_subword_prefix", "##", "continuing_subword_prefix"},
      {"/model/end_of_word_suffix", "</w>", "end_of_word_suffix"},
      {"/normalizer", {{"type", "BertNormalizer"}}, "BertNormalizer"},
      {"/normalizer", {{"type", "Sequence"}, {"normalizers", {{{"type", "Nmt"}}}}}, "Nmt"},
      {"/pre_tokenizer", {{"type", "Whitespace"}}, "Whitespace"},
      {"/pre_tokenizer",
       {{"type", "Split"},
        {"pattern", {{"Regex", "[a&&[b]]"}}},
        {"behavior", "Isolated"},
        {"invert", false}},
       "&&"},
      {"/pre_tokenizer",
       {{"type", "Split"},
        {"pattern", {{"Regex", R"(\bx)"}}},
        {"behavior", "Isolated"},
        {"invert", false}},
       R"(\b)"},
      {"/pre_tokenizer",
       {{"type", "Split"},
        {"pattern", {{"Regex", "(x"}}},
        {"behavior", "Isolated"},
        {"invert", false}},
       "(x"},
      {"/pre_tokenizer",
       {{"type", "Split"}, {"pattern", {{"String", "x"}}}, {"behavior", "Odd"}, {"invert", false}},
       "Odd"},
      {"/post_processor", {{"type", "BertProcessing"}}, "BertProcessing"},
      {"/decoder", {{"type", "WordPiece"}}, "WordPiece"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.text);
    json document = SmallTokenizer();
    document[json::json_pointer(row.pointer)] = row.value;
    EXPECT_ERROR(Tokenizer::Parse(document.dump()), kPrecondition, "MODEL_UNSUPPORTED", row.text);
  }
}

TEST(Tokenizer, DamageIsNamed) {
  const struct {
    const char* pointer;
    json value;
    const char* text;
  } kTable[] = {
      {"/model", nullptr, "model"},
      {"/model", 3, "model"},
      {"/model/vocab", json::array(), "vocab"},
      {"/model/vocab/a", -1, "vocab"},
      {"/model/vocab/a", 1.5, "vocab"},
      {"/model/vocab/a", 4294967296, "4294967296"},
      {"/model/vocab/a", "1", "vocab"},
      {"/model/merges", json::object(), "merges"},
      {"/model/merges", json::array({"h e l"}), "h e l"},
      {"/model/merges", json::array({"he"}), "he"},
      {"/model/merges", json::array({json::array({"h", "e", "l"})}), "merges"},
      {"/model/merges", json::array({json::array({"h", 3})}), "merges"},
      {"/model/merges", json::array({json::array({"h", "zz"})}), "zz"},
      {"/model/merges", json::array({json::array({"x", "y"})}), "xy"},
      {"/added_tokens", 3, "added_tokens"},
      {"/added_tokens/0", "x", "added token"},
      {"/added_tokens/0/lstrip", 1, "lstrip"},
      {"/pre_tokenizer", "ByteLevel", "pre_tokenizer"},
      {"/pre_tokenizer/type", 1, "type"},
      {"/pre_tokenizer/add_prefix_space", nullptr, "add_prefix_space"},
      {"/post_processor/single", nullptr, "single"},
      {"/post_processor/single/0", {{"Odd", 1}}, "single"},
      {"/post_processor/special_tokens", json::object(), "<bos>"},
      {"/decoder", json::array(), "decoder"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(Concat(row.pointer, " ", row.value.dump()));
    json document = SmallTokenizer();
    document[json::json_pointer(row.pointer)] = row.value;
    EXPECT_ERROR(Tokenizer::Parse(document.dump()), kPrecondition, "MODEL_CORRUPT", row.text);
  }
  const std::string whole = SmallTokenizer().dump();
  for (const std::string& text :
       {std::string(), std::string("[]"), whole.substr(0, whole.size() / 2), whole + "x",
        std::string(100, '['), std::string("{\"model\":{\"vocab\":{\"\xff\":1}}}")}) {
    EXPECT_ERROR(Tokenizer::Parse(text), kPrecondition, "MODEL_CORRUPT", "tokenizer.json");
  }
}

TEST(Tokenizer, LoadNamesTheFile) {
  const TempDir dir;
  EXPECT_ERROR(Tokenizer::Load(dir.path()), absl::StatusCode::kNotFound, "MODEL_NOT_FOUND",
               "tokenizer.json");
  dir.Write("tokenizer.json", "{");
  EXPECT_ERROR(Tokenizer::Load(dir.path()), kPrecondition, "MODEL_CORRUPT", dir.path().string());
  dir.Write("tokenizer.json", SmallTokenizer().dump());
  EXPECT_OK(Tokenizer::Load(dir.path()));
  dir.Write("special_tokens_map.json", "[]");
  EXPECT_ERROR(Tokenizer::Load(dir.path()), kPrecondition, "MODEL_CORRUPT",
               "special_tokens_map.json");
}

}  // namespace
}  // namespace ftd

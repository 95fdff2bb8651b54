#include "lib/gguf/pre_tokenizers.h"

#include <string>

#include "tests/support/expect_status.h"

namespace ftd::gguf {
namespace {

using nlohmann::json;

constexpr char kBytes[] = R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": true})";
constexpr char kBytesAlone[] =
    R"({"type": "ByteLevel", "add_prefix_space": false, "use_regex": false})";
constexpr char kQwen[] =
    R"re({"type": "Split", "pattern": {"Regex": "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+"}, "behavior": "Isolated", "invert": false})re";

json Sequence(const std::string& steps) {
  return json::parse(R"({"type": "Sequence", "pretokenizers": [)" + steps + "]}");
}

json Document(const json& pre_tokenizer, bool ignore_merges = false) {
  return {{"model", {{"type", "BPE"}, {"ignore_merges", ignore_merges}}},
          {"normalizer", nullptr},
          {"pre_tokenizer", pre_tokenizer}};
}

std::string PreOf(const json& document) {
  const auto kind = FindTokenizerKind(document);
  EXPECT_OK(kind);
  if (!kind.ok()) return "";
  EXPECT_FALSE(kind->sentencepiece);
  return std::string(kind->pre);
}

TEST(PreTokenizers, AreFoundByWhatTheyDo) {
  const std::string digits = R"({"type": "Digits", "individual_digits": true}, )";
  EXPECT_EQ(PreOf(Document(json::parse(kBytes))), "gpt-2");
  EXPECT_EQ(PreOf(Document(Sequence(digits + kBytes))), "smollm");
  json qwen = Document(Sequence(std::string(kQwen) + ", " + kBytesAlone));
  EXPECT_EQ(PreOf(qwen), "qwen2");
  qwen["normalizer"] = {{"type", "NFC"}};
  EXPECT_EQ(PreOf(qwen), "qwen2");
  json& regex = qwen["pre_tokenizer"]["pretokenizers"][0]["pattern"]["Regex"];
  std::string llama = regex;
  llama.replace(llama.find("|\\p{N}|"), 7, "|\\p{N}{1,3}|");
  regex = llama;
  EXPECT_EQ(PreOf(qwen), "dbrx");
  qwen["model"]["ignore_merges"] = true;
  EXPECT_EQ(PreOf(qwen), "llama-bpe");
}

TEST(PreTokenizers, AreRefusedByTheirContent) {
  const auto refused = [&](const json& document, const char* words) {
    EXPECT_ERROR(FindTokenizerKind(document), kPrecondition, "MODEL_UNSUPPORTED", words);
  };
  const json two = Sequence(std::string(kQwen) + ", " + kBytes);
  refused(Document(two), "pre_tokenizer of tokenizer.json: {");
  refused(Document(json::parse(R"({"type": "Digits", "individual_digits": false})")), "Digits");
  refused(Document(nullptr), "pre_tokenizer");
  json lower = Document(json::parse(kBytes));
  lower["normalizer"] = {{"type", "Lowercase"}};
  refused(lower, "Lowercase");
}

TEST(PreTokenizers, KnowSentencePiece) {
  json document = {{"model", {{"type", "BPE"}, {"byte_fallback", true}}},
                   {"pre_tokenizer", {{"type", "Metaspace"}, {"prepend_scheme", "first"}}},
                   {"normalizer", nullptr}};
  auto kind = FindTokenizerKind(document);
  ASSERT_OK(kind);
  EXPECT_TRUE(kind->sentencepiece && kind->puts_space_before && kind->only_at_start);
  document["pre_tokenizer"] = nullptr;
  document["normalizer"] = json::parse(
      R"({"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
          {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]})");
  kind = FindTokenizerKind(document);
  ASSERT_OK(kind);
  EXPECT_TRUE(kind->puts_space_before && !kind->only_at_start);
  // Gemma's.
  document["normalizer"] = document["normalizer"]["normalizers"][1];
  document["pre_tokenizer"] = json::parse(
      R"({"type": "Split", "pattern": {"String": " "}, "behavior": "MergedWithPrevious"})");
  kind = FindTokenizerKind(document);
  ASSERT_OK(kind);
  EXPECT_TRUE(kind->sentencepiece && !kind->puts_space_before);
  document["normalizer"] = nullptr;
  EXPECT_FALSE(FindTokenizerKind(document).ok());
}

}  // namespace
}  // namespace ftd::gguf

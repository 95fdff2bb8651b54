#include "artifacts/dataset.h"

#include "artifacts/concat.h"
#include "tests/artifacts/small_tokenizer.h"
#include "tests/artifacts/temp_dir.h"

namespace ftd {
namespace {

using nlohmann::json;
using testing::ElementsAre;
constexpr auto kInvalid = absl::StatusCode::kInvalidArgument;

absl::StatusOr<std::vector<std::string>> Read(std::string_view bytes, int64_t limit = 0) {
  const TempDir dir;
  return ReadTexts(dir.Write("upload", bytes), "rows.jsonl", limit);
}

// The words of NVIDIA's script.
constexpr char kAlpaca[] =
    "Below is an instruction that describes a task, paired with an input that provides further "
    "context. Write a response "
    "that appropriately completes the request.\n### Instruction: I\n\n### Input: N\n\n### "
    "Response: O";

TEST(Dataset, RowsOfEveryKind) {
  std::string without_input = kAlpaca;
  without_input.erase(without_input.find('N', without_input.find("Input")), 1);
  const auto texts =
      Read(R"({"instruction":"I","input":"N","output":"O"})"
           "\n"
           R"({"instruction":"I","output":"O"})"
           "\r\n"
           "\n   \t\r\n"
           R"({"instruction":"I","input":null,"output":"O","text":"not this"})"
           "\n"
           R"({"text":"plain é\u0000🙂","meta":{"text":3,"deep":[1,[2,{"text":4}]]},"n":1e3})"
           "\n"
           R"({"text":"first","text":"last wins","output":"ignored"})");
  ASSERT_OK(texts);
  EXPECT_THAT(*texts, ElementsAre(kAlpaca, without_input, without_input,
                                  std::string("plain é\0🙂", 13), "last wins"));
}

TEST(Dataset, AnArrayOverManyLines) {
  const auto texts =
      Read("\xEF\xBB\xBF \n[\n {\"text\": \"a\",\n  \"x\": []},\r\n\r\n {\"text\": \"b\"}\n]\n");
  ASSERT_OK(texts);
  EXPECT_THAT(*texts, ElementsAre("a", "b"));
}

TEST(Dataset, AByteOrderMarkAndNoLastNewline) {
  EXPECT_THAT(*Read("\xEF\xBB\xBF{\"text\":\"a\"}\n{\"text\":\"b\"}"), ElementsAre("a", "b"));
}

TEST(Dataset, TheLimitSparesWhatComesBehind) {
  EXPECT_THAT(*Read("{\"text\":\"a\"}\n{\"text\":\"b\"}\nnot json", 2), ElementsAre("a", "b"));
  EXPECT_THAT(*Read(R"([{"text":"a"},{"text":"b"}, not json)", 2), ElementsAre("a", "b"));
  EXPECT_THAT(*Read(R"({"text":"a"})", 5), ElementsAre("a"));
}

TEST(Dataset, BadRowsAreNamedByLine) {
  const std::string good = "{\"text\":\"a\"}\n";
  const struct {
    std::string row;
    const char* text;
  } kTable[] = {
      {R"({"text":"a")", "not JSON at column"},
      {R"({"text":"a"} {"text":"b"})", "not JSON at column"},
      {R"({"text":"a\x"})", "not JSON at column"},
      {std::string("{\"text\":\"\xff\"}"), "not JSON at column"},
      {std::string("{\"text\":\"\xe2\x82\"}"), "not JSON at column"},
      {std::string("{\"text\":\"a\0b\"}", 14), "not JSON at column"},
      {R"({"text":"\ud800"})", "not JSON at column"},
      {"hello", "not JSON at column"},
      {R"(["a"])", "a row must be an object"},
      {R"("a")", "a row must be an object"},
      {"3", "a row must be an object"},
      {"null", "a row must be an object"},
      {"{}", R"(neither "instruction" nor "text")"},
      {R"({"text":null})", "neither \"instruction\" nor \"text\""},
      {R"({"text":3})", "\"text\" must be a string"},
      {R"({"text":["a"]})", "\"text\" must be a string"},
      {R"({"text":{"a":"b"}})", "\"text\" must be a string"},
      {R"({"text":true})", "\"text\" must be a string"},
      {R"({"instruction":"I","input":"N"})",
       R"("output" is missing; an Alpaca row needs instruction, input, output)"},
      {R"({"output":"O"})", "\"instruction\" is missing"},
      {R"({"instruction":1,"output":"O"})", "\"instruction\" must be a string"},
      {R"({"instruction":"I","input":7,"output":"O"})", "\"input\" must be a string"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.row);
    EXPECT_ERROR(Read(Concat(good, "\r\n", good, row.row, "\n", good)), kInvalid, "DATASET_INVALID",
                 row.text);
    EXPECT_THAT(
        std::string(Read(Concat(good, "\r\n", good, row.row, "\n", good)).status().message()),
        testing::StartsWith("rows.jsonl line 4: "));
  }
}

TEST(Dataset, BadArraysNameTheRow) {
  EXPECT_ERROR(Read(R"([{"text":"a"},{}])"), kInvalid, "DATASET_INVALID",
               "rows.jsonl row 2: neither");
  EXPECT_ERROR(Read("[{\"text\":\"a\"},\n\n3]"), kInvalid, "DATASET_INVALID",
               "rows.jsonl row 2: a row must be");
  EXPECT_ERROR(Read("[{\"text\":\"a\"},\n\n{\"text\":]"), kInvalid, "DATASET_INVALID",
               "rows.jsonl line 3, row 2: not JSON");
  EXPECT_ERROR(Read(R"([{"text":"a"})"), kInvalid, "DATASET_INVALID", "not JSON");
  EXPECT_ERROR(Read(R"([{"text":"a"}] x)"), kInvalid, "DATASET_INVALID", "not JSON");
}

TEST(Dataset, NoRows) {
  for (const char* bytes : {"", "\n\r\n  \n", "[]", "\xEF\xBB\xBF", " [ ] "}) {
    EXPECT_ERROR(Read(bytes), kInvalid, "DATASET_INVALID", "rows.jsonl has no rows");
  }
  EXPECT_EQ(ReadTexts("/nowhere/rows.jsonl", "rows.jsonl", 0).status().code(),
            absl::StatusCode::kNotFound);
}

TEST(Dataset, MessagesAreValidUtf8AndShort) {
  const auto status = Read(R"({"text":")" + std::string(1000, 'a') + "é\xff\"}").status();
  EXPECT_LT(status.message().size(), 400u);
  EXPECT_NO_THROW(json(std::string(status.message())).dump());
}

// A model directory with a tokenizer, and what `files` adds to it.
struct ModelDir {
  ModelDir(std::initializer_list<std::pair<const char*, json>> files) {
    dir.Write("tokenizer.json", SmallTokenizer().dump());
    for (const auto& [name, content] : files) dir.Write(name, content.dump());
    tokenizer = *Tokenizer::Load(dir / "tokenizer.json");
  }
  absl::StatusOr<RowEncoder> Encoder(int32_t seq_length = 0) const {
    return MakeRowEncoder(dir.path(), *tokenizer, seq_length);
  }
  TempDir dir;
  std::unique_ptr<Tokenizer> tokenizer;
};

TEST(RowEncoder, EosFromEveryPlace) {
  const json llama = {{"model_type", "llama"},     {"vocab_size", 263},
                      {"hidden_size", 8},          {"intermediate_size", 8},
                      {"num_hidden_layers", 1},    {"num_attention_heads", 2},
                      {"eos_token_id", {262, 261}}};
  EXPECT_EQ(ModelDir({{"tokenizer_config.json", {{"eos_token", "<eos>"}}}}).Encoder()->eos_token,
            "<eos>");
  EXPECT_EQ(ModelDir({{"tokenizer_config.json", {{"eos_token", {{"content", "<eos>"}}}}}})
                .Encoder()
                ->eos_token,
            "<eos>");
  EXPECT_EQ(ModelDir({{"tokenizer_config.json", {{"eos_token", nullptr}}},
                      {"special_tokens_map.json", {{"eos_token", "<eos>"}}}})
                .Encoder()
                ->eos_token,
            "<eos>");
  EXPECT_EQ(ModelDir({{"config.json", llama}}).Encoder()->eos_token, "<eos>");
}

TEST(RowEncoder, NoEosOrDamagedFiles) {
  const json llama = {{"model_type", "llama"},  {"vocab_size", 263},
                      {"hidden_size", 8},       {"intermediate_size", 8},
                      {"num_hidden_layers", 1}, {"num_attention_heads", 2}};
  constexpr auto kPrecondition = absl::StatusCode::kFailedPrecondition;
  EXPECT_ERROR(ModelDir({{"config.json", llama}}).Encoder(), kPrecondition, "MODEL_UNSUPPORTED",
               "end-of-sequence");
  EXPECT_ERROR(ModelDir({{"tokenizer_config.json", json::array()}}).Encoder(), kPrecondition,
               "MODEL_CORRUPT", "tokenizer_config.json");
  EXPECT_ERROR(ModelDir({{"tokenizer_config.json", {{"eos_token", 3}}}}).Encoder(), kPrecondition,
               "MODEL_CORRUPT", "eos_token");
  EXPECT_ERROR(ModelDir({{"tokenizer_config.json", {{"eos_token", "</s>"}}}}).Encoder(),
               kPrecondition, "MODEL_CORRUPT", "</s>");
}

TEST(RowEncoder, AppendsEosOnceThenCuts) {
  const ModelDir model({{"tokenizer_config.json", {{"eos_token", "<eos>"}}}});
  const auto whole = model.Encoder();
  ASSERT_OK(whole);
  EXPECT_THAT(whole->Encode("hello w").input_ids, ElementsAre(261, 259, 260, 262));
  EXPECT_THAT(whole->Encode("hello w<eos>").input_ids, ElementsAre(261, 259, 260, 262));
  EXPECT_EQ(whole->Encode("hello").labels, whole->Encode("hello").input_ids);
  EXPECT_THAT(model.Encoder(3)->Encode("hello w").input_ids, ElementsAre(261, 259, 260));
  EXPECT_THAT(model.Encoder(3)->Encode("hello w").labels, ElementsAre(261, 259, 260));
  EXPECT_THAT(model.Encoder(9)->Encode("").input_ids, ElementsAre(261, 262));
}

TEST(EncodeAll, KeepsOrderOnAnyNumberOfThreads) {
  const ModelDir model({{"tokenizer_config.json", {{"eos_token", "<eos>"}}}});
  const auto encoder = model.Encoder();
  ASSERT_OK(encoder);
  std::vector<std::string> texts;
  texts.reserve(1000);
  for (int i = 0; i < 1000; ++i) texts.push_back(Concat("hello ", i));
  for (const int threads : {0, 1, 3, 64}) {
    int64_t last = -1;
    const auto rows = EncodeAll(*encoder, texts, threads, [&](int64_t done) {
      EXPECT_GE(done, last);
      last = done;
      return true;
    });
    ASSERT_OK(rows);
    EXPECT_EQ(last, 1000);
    for (size_t i = 0; i < texts.size(); ++i)
      ASSERT_EQ((*rows)[i].input_ids, encoder->Encode(texts[i]).input_ids);
  }
  EXPECT_TRUE(EncodeAll(*encoder, {}, 2, [](int64_t) { return true; })->empty());
}

TEST(EncodeAll, StopsWhenAsked) {
  const ModelDir model({{"tokenizer_config.json", {{"eos_token", "<eos>"}}}});
  const auto encoder = model.Encoder();
  ASSERT_OK(encoder);
  const std::vector<std::string> texts(1000, "hello");
  EXPECT_EQ(EncodeAll(*encoder, texts, 2, [](int64_t) { return false; }).status().code(),
            absl::StatusCode::kCancelled);
}

}  // namespace
}  // namespace ftd

#include "lib/data/row_encoder.h"

#include "tests/lib/data/model_dir.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

using nlohmann::json;
using testing::ElementsAre;

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
  // In a folder without added_tokens_decoder the older file comes first, as in transformers.
  EXPECT_EQ(ModelDir({{"tokenizer_config.json", {{"eos_token", "<bos>"}}},
                      {"special_tokens_map.json", {{"eos_token", "<eos>"}}}})
                .Encoder()
                ->eos_token,
            "<eos>");
  EXPECT_EQ(ModelDir({{"config.json", llama}}).Encoder()->eos_token, "<eos>");
}

TEST(RowEncoder, NoEos) {
  const json llama = {{"model_type", "llama"},  {"vocab_size", 263},
                      {"hidden_size", 8},       {"intermediate_size", 8},
                      {"num_hidden_layers", 1}, {"num_attention_heads", 2}};
  EXPECT_ERROR(ModelDir({{"config.json", llama}}).Encoder(), kPrecondition, "MODEL_UNSUPPORTED",
               "end-of-sequence");
}

TEST(RowEncoder, AppendsEosOnceThenCuts) {
  const ModelDir model({{"tokenizer_config.json", {{"eos_token", "<eos>"}}}});
  const auto whole = model.Encoder();
  ASSERT_OK(whole);
  EXPECT_THAT(whole->Encode({"hello w"}).input_ids, ElementsAre(261, 259, 260, 262));
  EXPECT_THAT(whole->Encode({"hello w<eos>"}).input_ids, ElementsAre(261, 259, 260, 262));
  EXPECT_EQ(whole->Encode({"hello"}).labels, whole->Encode({"hello"}).input_ids);
  EXPECT_THAT(model.Encoder(3)->Encode({"hello w"}).input_ids, ElementsAre(261, 259, 260));
  EXPECT_THAT(model.Encoder(3)->Encode({"hello w"}).labels, ElementsAre(261, 259, 260));
  EXPECT_THAT(model.Encoder(9)->Encode({""}).input_ids, ElementsAre(261, 262));
}

// Ids and labels of TRL 1.16's SFTTrainer itself are compared in tests/parity/labels_test.py.
TEST(RowEncoder, OnlyTheCompletionIsLearned) {
  const ModelDir model({{"tokenizer_config.json", {{"eos_token", "<eos>"}}}});
  const auto encoder = model.Encoder();
  ASSERT_OK(encoder);
  const auto row = [](const std::string& prompt, const std::string& completion,
                      bool completion_only) {
    return Example{prompt + completion, prompt.size(), completion_only};
  };
  EXPECT_THAT(encoder->Encode(row("hello", " w", true)).labels, ElementsAre(-100, -100, 260, 262));
  EXPECT_THAT(encoder->Encode(row("hello", " w", false)).labels, ElementsAre(261, 259, 260, 262));
  // " w" is one token, which begins in the prompt: the labels begin with it, as TRL has it.
  EXPECT_THAT(encoder->Encode(row("hello ", "w", true)).labels, ElementsAre(-100, -100, 260, 262));
  EXPECT_THAT(encoder->Encode(row("hel", "lo", true)).labels, ElementsAre(-100, 259, 262));
  // EOS is the completion's affair: one at the prompt's end does not count.
  EXPECT_THAT(encoder->Encode(row("hello<eos>", "", true)).labels,
              ElementsAre(-100, -100, -100, 262));
  EXPECT_THAT(encoder->Encode(row("", "hello<eos>", true)).labels, ElementsAre(-100, 259, 262));
  // The cut may leave nothing to learn.
  EXPECT_THAT(model.Encoder(2)->Encode(row("hello", " w", true)).labels, ElementsAre(-100, -100));
}

}  // namespace
}  // namespace ftd

#include "lib/spec/train_spec.h"

#include "lib/model/architecture.h"

#include "lib/base/concat.h"
#include "nlohmann/json.hpp"
#include "tests/lib/spec/resolve.h"
#include "tests/support/expect_status.h"

namespace ftd {
namespace {

using nlohmann::json;

json Minimal(const char* mode) {
  return {
      {"mode", mode}, {"model", "/models/x"}, {"dataset", {{"server_path", "/data/rows.jsonl"}}}};
}

TEST(TrainSpec, TheDefaultsAreTheScripts) {
  const auto lora = Resolve(Minimal("LORA"));
  ASSERT_OK(lora);
  EXPECT_EQ(lora->learning_rate, 1e-4);
  EXPECT_EQ(lora->batch_size, 8);
  EXPECT_EQ(lora->gradient_accumulation_steps, 1);
  EXPECT_EQ(lora->seq_length, 2048);
  EXPECT_EQ(lora->num_epochs, 1);
  EXPECT_EQ(lora->lora.rank, 8);
  EXPECT_EQ(lora->lora.alpha, 16);
  EXPECT_EQ(lora->lora.dropout, 0);
  EXPECT_EQ(lora->seed, 42);
  EXPECT_EQ(lora->lora.target_modules, AllTargetModules());
  const auto full = ResolveTrainSpec(Minimal("FULL").dump(), Dtype::kBfloat16);
  ASSERT_OK(full);
  EXPECT_EQ(full->learning_rate, 5e-5);
  EXPECT_EQ(full->dtype, Dtype::kBfloat16);
}

TEST(TrainSpec, ItsJsonResolvesToItself) {
  json spec = Minimal("LORA");
  spec["seed"] = "12345678901";
  spec["learning_rate"] = 0.1;
  spec["shuffle"] = false;
  spec["dtype"] = "FLOAT16";
  spec["eval_split"] = 0.1;
  spec["eval_steps"] = 20;
  spec["load_best_model_at_end"] = true;
  spec["playbook_warmup"] = true;
  spec["lora"] = {{"rank", 4}, {"target_modules", {"v_proj", "q_proj"}}};
  const auto first = Resolve(spec);
  ASSERT_OK(first);
  EXPECT_EQ(first->seed, 12345678901);
  EXPECT_EQ(first->eval_split, 0.1);
  EXPECT_EQ(first->eval_steps, 20);
  EXPECT_TRUE(first->load_best_model_at_end && first->playbook_warmup);
  EXPECT_THAT(first->lora.target_modules, testing::ElementsAre("q_proj", "v_proj"));
  const auto second = ResolveTrainSpec(TrainSpecToJson(*first), Dtype::kBfloat16);
  ASSERT_OK(second);
  EXPECT_EQ(TrainSpecToJson(*second), TrainSpecToJson(*first));
  EXPECT_EQ(second->dtype, Dtype::kFloat16);
}

TEST(TrainSpec, SamplesAreThereOnlyWithPrompts) {
  json spec = Minimal("LORA");
  const json without = json::parse(TrainSpecToJson(*Resolve(spec)));
  for (const char* name : {"sample_prompts", "sample_steps", "sample_max_new_tokens"})
    EXPECT_FALSE(without.contains(name)) << name;
  spec["sample_prompts"] = {"Once", R"([{"role": "user", "content": "Hi"}])", "[1, 2]", "[{"};
  const auto resolved = Resolve(spec);
  ASSERT_OK(resolved);
  EXPECT_EQ(json(resolved->sample_prompts), spec["sample_prompts"]);
  const auto again = Resolve(json::parse(TrainSpecToJson(*resolved)));
  ASSERT_OK(again);
  EXPECT_EQ(again->sample_prompts, resolved->sample_prompts);
  EXPECT_EQ(again->sample_steps, 100);
  EXPECT_EQ(again->sample_max_new_tokens, 64);
}

// Specs that a release without auto stored hold true or false; none of before held `deterministic`.
TEST(TrainSpec, AbsentIsAutoAndDeterministic) {
  const struct {
    json given;  // discarded: absent
    Checkpointing meant;
  } kTable[] = {{json::value_t::discarded, Checkpointing::kAuto},
                {nullptr, Checkpointing::kAuto},
                {true, Checkpointing::kOn},
                {false, Checkpointing::kOff}};
  for (const auto& row : kTable) {
    json spec = Minimal("LORA");
    if (!row.given.is_discarded()) spec["gradient_checkpointing"] = row.given;
    const auto resolved = Resolve(spec);
    ASSERT_OK(resolved);
    EXPECT_EQ(resolved->gradient_checkpointing, row.meant);
    EXPECT_TRUE(resolved->deterministic);
    const json stored = json::parse(TrainSpecToJson(*resolved));
    ASSERT_TRUE(stored.contains("gradient_checkpointing"));
    EXPECT_EQ(stored["gradient_checkpointing"].is_null(), row.meant == Checkpointing::kAuto);
    EXPECT_EQ(Resolve(stored)->gradient_checkpointing, row.meant);
  }
  json spec = Minimal("LORA");
  spec["deterministic"] = false;
  const auto resolved = Resolve(spec);
  ASSERT_OK(resolved);
  EXPECT_FALSE(resolved->deterministic);
  EXPECT_FALSE(Resolve(json::parse(TrainSpecToJson(*resolved)))->deterministic);
  EXPECT_EQ(CheckpointingName(Checkpointing::kAuto), "auto");
  EXPECT_EQ(CheckpointingName(Checkpointing::kOn), "on");
  EXPECT_EQ(CheckpointingName(Checkpointing::kOff), "off");
}

TEST(TrainSpec, RangesNameTheField) {
  const struct {
    const char* field;
    json value;
  } kTable[] = {
      {"num_epochs", 0},
      {"num_epochs", -1},
      {"max_steps", -1},
      {"batch_size", 0},
      {"batch_size", 1.5},
      {"batch_size", "x"},
      {"batch_size", 9999999999},
      {"batch_tokens", -1},
      {"batch_tokens", 2047},  // below seq_length
      {"gradient_accumulation_steps", 0},
      {"seq_length", 0},
      {"seq_length", 1},
      {"learning_rate", 0},
      {"learning_rate", -1e-4},
      {"learning_rate", "fast"},
      {"lr_scheduler_type", "POLYNOMIAL"},
      {"warmup_steps", -1},
      {"warmup_steps", 1.5},
      {"warmup_steps", "long"},
      {"min_lr", 1e-5},
      {"min_lr_rate", 0.1},
      {"precision", "HF_PARITY"},  // with LORA
      {"precision", "FP8"},
      {"weight_decay", -0.1},
      {"max_grad_norm", 0},
      {"logging_steps", 0},
      {"save_steps", -1},
      {"save_total_limit", 0},
      {"sample_steps", 10},  // without prompts
      {"sample_max_new_tokens", 10},
      {"sample_prompts", "Once"},
      {"sample_prompts", {1}},
      {"sample_prompts", {""}},
      {"sample_prompts", {"[{}]"}},
      {"sample_prompts", json::array({"a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a", "a",
                                      "a", "a", "a", "a", "a"})},
      {"eval_split", -0.1},
      {"eval_split", 1.5},
      {"eval_split", "some"},
      {"eval_steps", 5},                 // without eval_split
      {"load_best_model_at_end", true},  // likewise
      {"early_stopping_patience", 2},    // likewise
      {"playbook_warmup", "yes"},
      {"shuffle", "yes"},
      {"gradient_checkpointing", "on"},
      {"deterministic", 1},
      {"lora.rank", 0},
      {"lora.rank", 4097},
      {"lora.alpha", 0},
      {"lora.dropout", 1},
      {"lora.dropout", -0.1},
      {"lora.use_rslora", "yes"},
      {"lora.target_modules", json::array({"lm_head"})},
      {"model", ""},
      {"mode", "NONE"},
      {"dtype", "FLOAT8"},
      {"dataset.upload_sha256", "abc"},
      {"dataset.size", -1},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(Concat(row.field, " ", row.value.dump()));
    json spec = Minimal("LORA");
    const std::string field = row.field;
    const size_t dot = field.find('.');
    (dot == std::string::npos ? spec[field] : spec[field.substr(0, dot)][field.substr(dot + 1)]) =
        row.value;
    const auto resolved = Resolve(spec);
    ASSERT_FALSE(resolved.ok());
    EXPECT_EQ(resolved.status().code(), absl::StatusCode::kInvalidArgument);
    EXPECT_EQ(ReasonOf(resolved.status()), Reason::kFieldInvalid);
    ASSERT_EQ(ViolationsOf(resolved.status()).size(), 1u) << resolved.status();
    EXPECT_EQ(ViolationsOf(resolved.status())[0].field, field);
  }
}

TEST(TrainSpec, OneAnswerNamesAllBadFields) {
  json spec = Minimal("LORA");
  spec["batch_size"] = 0;
  spec["lora"] = {{"rank", 0}};
  spec["dataset"] = {{"size", -1}};
  EXPECT_EQ(ViolationsOf(Resolve(spec).status()).size(), 3u) << Resolve(spec).status();
}

TEST(TrainSpec, QloraHasTheDefaultsOfLora) {
  const auto lora = Resolve(Minimal("LORA")), qlora = Resolve(Minimal("QLORA"));
  ASSERT_OK(lora);
  ASSERT_OK(qlora);
  EXPECT_EQ(qlora->mode, Mode::kQlora);
  json expected = json::parse(TrainSpecToJson(*lora));
  expected["mode"] = "QLORA";
  EXPECT_EQ(json::parse(TrainSpecToJson(*qlora)), expected);
}

TEST(TrainSpec, FullTakesNoAdapter) {
  json spec = Minimal("FULL");
  spec["lora"] = {{"rank", 8}};
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID", "lora");
}

TEST(TrainSpec, ScheduleOfTheLearningRate) {
  json spec = Minimal("FULL");
  const auto plain = Resolve(spec);
  ASSERT_OK(plain);
  EXPECT_EQ(plain->lr_schedule.type, LrSchedule::Type::kLinear);
  EXPECT_EQ(plain->lr_schedule.warmup_steps, 0);
  spec["lr_scheduler_type"] = "COSINE_WITH_MIN_LR";
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID", "min_lr");
  spec["min_lr"] = 5e-6;  // of the mode's 5e-5
  spec["warmup_steps"] = 0.03;
  const auto resolved = Resolve(spec);
  ASSERT_OK(resolved);
  EXPECT_DOUBLE_EQ(resolved->lr_schedule.min_lr_rate, 0.1);
  const auto again = Resolve(json::parse(TrainSpecToJson(*resolved)));
  ASSERT_OK(again);
  EXPECT_EQ(TrainSpecToJson(*again), TrainSpecToJson(*resolved));
  spec["min_lr_rate"] = 0.1;
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID", "one of them");
  spec.erase("min_lr_rate");
  spec["min_lr"] = 1e-3;
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID", "min_lr");
  spec = Minimal("LORA");
  spec["lr_scheduler_type"] = "CONSTANT";
  spec["warmup_steps"] = 3;
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID",
               "constant_with_warmup");
}

TEST(TrainSpec, OnlyAnAdapterIsMerged) {
  json spec = Minimal("LORA");
  EXPECT_FALSE(Resolve(spec)->merge);
  spec["merge"] = true;
  EXPECT_TRUE(Resolve(spec)->merge);
  EXPECT_TRUE(Resolve(json::parse(TrainSpecToJson(*Resolve(spec))))->merge);
  spec = Minimal("FULL");
  spec["merge"] = true;
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID", "merge");
}

TEST(TrainSpec, PrecisionOfFullFineTuning) {
  json spec = Minimal("FULL");
  EXPECT_EQ(Resolve(spec)->precision, Precision::kFp32Master);
  spec["precision"] = "HF_PARITY";
  spec["dtype"] = "BFLOAT16";
  const auto parity = Resolve(spec);
  ASSERT_OK(parity);
  EXPECT_EQ(parity->precision, Precision::kHfParity);
  EXPECT_EQ(Resolve(json::parse(TrainSpecToJson(*parity)))->precision, Precision::kHfParity);
  spec["dtype"] = "FLOAT16";
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID", "float16");
}

TEST(TrainSpec, TokensInsteadOfRowsOfABatch) {
  json spec = Minimal("LORA");
  const json by_rows = json::parse(TrainSpecToJson(*Resolve(spec)));
  EXPECT_EQ(by_rows["batch_size"], 8);
  EXPECT_FALSE(by_rows.contains("batch_tokens"));
  EXPECT_EQ(BatchSizeText(*Resolve(spec)), "8");
  spec["batch_tokens"] = 2048;
  const auto by_tokens = Resolve(spec);
  ASSERT_OK(by_tokens);
  EXPECT_EQ(BatchSizeText(*by_tokens), "up to 2048 tokens");
  const json stored = json::parse(TrainSpecToJson(*by_tokens));
  EXPECT_EQ(stored["batch_tokens"], 2048);
  EXPECT_FALSE(stored.contains("batch_size"));
  const auto again = Resolve(stored);
  ASSERT_OK(again);
  EXPECT_EQ(json::parse(TrainSpecToJson(*again)), stored);
  spec["batch_tokens"] = 2047;
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID",
               "batch_tokens must be at least seq_length, 2048, so that every row fits; got 2047: "
               "raise it or lower seq_length");
  spec["seq_length"] = 2047;
  EXPECT_OK(Resolve(spec));
  spec["packing"] = true;
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID",
               "packing does not go with batch_tokens: leave one of them out");
  spec["packing"] = false;
  spec["batch_size"] = 8;  // the default, but given
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID",
               "batch_size does not go with batch_tokens: leave one of them out");
  spec["batch_tokens"] = 0;
  EXPECT_OK(Resolve(spec));
}

TEST(TrainSpec, RowsThatFitOfABatch) {
  json spec = Minimal("LORA");
  EXPECT_FALSE(Resolve(spec)->auto_batch_size);
  spec["auto_batch_size"] = true;
  spec["batch_size"] = 16;
  const auto resolved = Resolve(spec);
  ASSERT_OK(resolved);
  EXPECT_TRUE(resolved->auto_batch_size);
  EXPECT_EQ(resolved->batch_size, 16);
  EXPECT_TRUE(Resolve(json::parse(TrainSpecToJson(*resolved)))->auto_batch_size);
  spec["packing"] = true;
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID",
               "auto_batch_size does not go with packing: leave one of them out");
  spec.erase("packing");
  spec.erase("batch_size");
  spec["batch_tokens"] = 4096;
  EXPECT_ERROR(Resolve(spec), absl::StatusCode::kInvalidArgument, "FIELD_INVALID",
               "auto_batch_size does not go with batch_tokens: leave one of them out");
  spec["auto_batch_size"] = false;
  EXPECT_OK(Resolve(spec));
}

TEST(TrainSpec, NotAnObject) {
  for (const char* text : {"", "[]", "{", "3"}) {
    EXPECT_ERROR(ResolveTrainSpec(text, Dtype::kFloat32), absl::StatusCode::kInvalidArgument,
                 "FIELD_INVALID", "JSON");
  }
}

}  // namespace
}  // namespace ftd

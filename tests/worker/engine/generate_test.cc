// Generation against the same model without a cache, and sequences beside others against sequences
// alone. Against transformers: tests/worker/generate_test.py.

#include "worker/engine/generate.h"

#include <ATen/ATen.h>
#include <ATen/Parallel.h>

#include <map>
#include <string>
#include <vector>

#include "gtest/gtest.h"
#include "tests/support/temp_dir.h"
#include "tests/worker/engine/gradient_check.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/model/inference.h"
#include "worker/engine/ops/attention/kv_cache.h"
#include "worker/engine/ops/linear/row_product.h"
#include "worker/engine/training/batches.h"

namespace ftd::engine {
namespace {

using testing::TinyShape;

constexpr int kNewTokens = 22;  // past the window of each shape and the first context of LongRoPE

// Layers of each kind, with windows and contexts that the sequences below go past.
std::map<std::string, TinyShape> Shapes() {
  std::map<std::string, TinyShape> shapes;
  shapes["llama"] = {};
  shapes["biases"] = {.biases = true};
  shapes["window"] = {.family = "mistral", .options = {{"sliding_window", 9}}};
  shapes["softcap"] = {.family = "gemma2",
                       .options = {{"sliding_window", 7},
                                   {"query_pre_attn_scalar", 8},
                                   {"attn_logit_softcapping", 2.0},
                                   {"final_logit_softcapping", 5.0},
                                   {"hidden_activation", "gelu_pytorch_tanh"}}};
  shapes["delta"] = testing::DeltaShapeOf(3);
  shapes["longrope"] = {.family = "phi3",
                        .options = {{"original_max_position_embeddings", 20},
                                    {"rope_scaling",
                                     {{"type", "longrope"},
                                      {"short_factor", std::vector<double>(4, 1.0)},
                                      {"long_factor", std::vector<double>{1, 2, 3, 4}}}}}};
  return shapes;
}

std::vector<std::vector<int32_t>> Prompts() {
  std::vector<std::vector<int32_t>> prompts;
  for (const TokenizedRow& row : testing::RandomRows(6, 24, /*seed=*/3))
    prompts.push_back(row.input_ids);
  prompts.push_back(testing::RandomRows(1, 1, 4)[0].input_ids);
  return prompts;
}

class GenerateTest : public ::testing::Test {
 protected:
  // On a busy machine a second thread spends its time waiting for the first: models are tiny.
  GenerateTest() { at::set_num_threads(1); }

  std::filesystem::path Made(const std::string& name) {
    std::filesystem::path dir = temp_.path() / name;
    testing::WriteTinyModel(dir, /*seed=*/7, Shapes()[name]);
    return dir;
  }

  TempDir temp_;
};

// The tokens of each prompt, all generated together, or each alone.
std::vector<std::vector<int32_t>> Generate(const GeneratorOptions& options, bool together,
                                           double temperature = 0) {
  Generator generator(options);
  std::vector<std::vector<int32_t>> tokens(Prompts().size());
  const auto run = [&] {
    while (!generator.idle())
      for (const NextToken& next : generator.Step()) tokens[next.sequence].push_back(next.token);
  };
  for (const auto& prompt : Prompts()) {
    generator.Add({prompt, {}, kNewTokens, {.temperature = temperature, .seed = 5}});
    if (!together) run();
  }
  run();
  return tokens;
}

// The last token's logits of a text by itself.
at::Tensor Uncached(Model& model, const std::vector<int32_t>& ids) {
  const FlatBatch batch = ToDevice(Pack({{ids, {}}}, at::kCPU), at::kCPU);
  at::Tensor logits =
      at::mm(FinalNorm(model, Forward(model, batch, {}, nullptr)).narrow(0, ids.size() - 1, 1),
             model.head().value.t());
  ShapeLogits(logits, LogitsOf(model.config));
  return logits[0];
}

// Greedy tokens without any cache.
std::vector<int32_t> GreedyUncached(Model& model, std::vector<int32_t> ids, int count) {
  const size_t prompt = ids.size();
  for (int i = 0; i < count; ++i)
    ids.push_back(static_cast<int32_t>(Uncached(model, ids).argmax().item<int64_t>()));
  return {ids.begin() + static_cast<ptrdiff_t>(prompt), ids.end()};
}

TEST_F(GenerateTest, CachedTokensAreThoseOfTheWholeTextAgain) {
  for (const auto& [name, shape] : Shapes()) {
    const std::filesystem::path dir = Made(name);
    const auto tokens = Generate({.model_dir = dir, .on_cpu = true}, /*together=*/true);
    Model model = LoadForInference(dir, {}, Dtype::kFloat32, false, at::kCPU);
    for (size_t i = 0; i < tokens.size(); ++i)
      EXPECT_EQ(tokens[i], GreedyUncached(model, Prompts()[i], kNewTokens)) << name << " " << i;
  }
}

TEST_F(GenerateTest, CachedLogitsAreNearThoseOfTheWholeText) {
  for (const auto& [name, shape] : Shapes()) {
    if (name == "longrope") continue;  // crossing its context makes the keys again: the test above
    Model model = LoadForInference(Made(name), {}, Dtype::kFloat32, false, at::kCPU);
    std::vector<int32_t> ids = testing::RandomRows(1, 1, 9)[0].input_ids;
    const auto text = testing::RandomRows(40, 1, 8);
    SequenceCache cache{std::vector<LayerCache>(model.layers.size())};
    double farthest = 0;
    for (const TokenizedRow& row : text) {
      const bool first = cache.tokens == 0;
      FlatBatch batch =
          ToDevice(Pack({{first ? ids : std::vector{ids.back()}, {}}}, at::kCPU), at::kCPU);
      batch.positions = batch.positions + cache.tokens;
      batch.documents.longest = cache.tokens + 1;
      PassOptions options;
      options.caches = {&cache};
      at::Tensor logits =
          at::mm(FinalNorm(model, Forward(model, batch, options, nullptr)), model.head().value.t());
      ShapeLogits(logits, LogitsOf(model.config));
      farthest = std::max(farthest, Distance(logits[0], Uncached(model, ids)));
      ids.push_back(row.input_ids[0]);
    }
    EXPECT_LT(farthest, 5e-6) << name;
  }
}

TEST_F(GenerateTest, ASequencesTokensDoNotDependOnThoseBesideIt) {
  for (const auto& [name, shape] : Shapes()) {
    const std::filesystem::path dir = Made(name);
    for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16}) {
      const GeneratorOptions options{.model_dir = dir, .dtype = dtype, .on_cpu = true};
      EXPECT_EQ(Generate(options, true, 1.0), Generate(options, false, 1.0)) << name;
    }
  }
}

// Adds one token to each sequence; returns the hidden states.
at::Tensor Next(const Model& model, const std::vector<SequenceCache*>& caches, int32_t token) {
  std::vector<TokenizedRow> rows(caches.size(), TokenizedRow{{token}, {}});
  FlatBatch batch = ToDevice(Pack(rows, at::kCPU), at::kCPU);
  std::vector<int64_t> positions;
  positions.reserve(caches.size());
  for (const SequenceCache* cache : caches) positions.push_back(cache->tokens);
  batch.positions = at::tensor(positions, at::kLong);
  batch.documents.longest = *std::max_element(positions.begin(), positions.end()) + 1;
  PassOptions options;
  options.caches = caches;
  return FinalNorm(model, Forward(model, batch, options, nullptr));
}

// Returns the hidden states of prompts that go through the model together.
at::Tensor Prefilled(const Model& model, const std::vector<std::vector<int32_t>>& prompts,
                     std::vector<SequenceCache>* caches) {
  std::vector<TokenizedRow> rows;
  PassOptions options;
  caches->assign(prompts.size(), {std::vector<LayerCache>(model.layers.size())});
  for (size_t i = 0; i < prompts.size(); ++i) {
    rows.push_back({prompts[i], {}});
    options.caches.push_back(&(*caches)[i]);
  }
  return FinalNorm(model,
                   Forward(model, ToDevice(Pack(rows, at::kCPU), at::kCPU), options, nullptr));
}

// Tokens would hide a difference in the last digits. Wide layers, because a library sums a few
// numbers in one order anyway.
TEST_F(GenerateTest, ASequencesNumbersAreTheSameBesideOthersToTheBit) {
  std::map<std::string, TinyShape> shapes = Shapes();
  shapes["wide"] = {.hidden = 256, .inner = 400};
  shapes.erase("longrope");  // a batch has one table: the generator sorts sequences by it
  for (const auto& [name, shape] : shapes) {
    const std::filesystem::path dir = temp_.path() / name;
    testing::WriteTinyModel(dir, /*seed=*/7, shape);
    for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16}) {
      const Model model = LoadForInference(dir, {}, dtype, false, at::kCPU);
      // As many tokens as RowProduct takes together.
      const std::vector<std::vector<int32_t>> prompts = {
          {5, 9, 33, 2, 60, 14, 8, 3, 41}, {7}, {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12}, {30, 31}};
      std::vector<SequenceCache> alone, beside;
      std::vector<SequenceCache*> together;
      const at::Tensor prefilled = Prefilled(model, prompts, &beside);
      const bool prompts_alone = name == "delta";  // as the generator does it
      int64_t first = 0;
      for (const std::vector<int32_t>& prompt : prompts) {
        std::vector<SequenceCache> own, again;
        const auto count = static_cast<int64_t>(prompt.size());
        const at::Tensor hidden = Prefilled(model, {prompt}, &own);
        Prefilled(model, {prompt}, &again);
        if (prompts_alone) {
          beside[alone.size()] = again[0];
        } else {
          EXPECT_TRUE(at::equal(hidden, prefilled.narrow(0, first, count))) << name;
        }
        first += count;
        alone.push_back(std::move(own[0]));
      }
      together.reserve(beside.size());
      for (SequenceCache& cache : beside) together.push_back(&cache);
      for (int32_t token = 3; token < 9; ++token) {
        const at::Tensor rows = Next(model, together, token);
        for (size_t i = 0; i < alone.size(); ++i) {
          EXPECT_TRUE(at::equal(Next(model, {&alone[i]}, token)[0], rows[static_cast<int64_t>(i)]))
              << name << " " << token << " " << i;
        }
      }
    }
  }
}

TEST_F(GenerateTest, MoreSequencesThanOneProductTakes) {
  const std::filesystem::path dir = Made("llama");
  Generator generator({.model_dir = dir, .on_cpu = true});
  std::map<int64_t, std::vector<int32_t>> tokens;
  for (int i = 0; i < 2 * kRowProductTokens + 3; ++i)
    generator.Add({{i % 60 + 1}, {}, 8, {.temperature = 1}});
  while (!generator.idle())
    for (const NextToken& next : generator.Step()) tokens[next.sequence].push_back(next.token);
  for (int i = 0; i < 7; ++i) EXPECT_EQ(tokens[i], tokens[i + 60]);
}

TEST_F(GenerateTest, Nf4GeneratesAsItsLogitsSay) {
  const std::filesystem::path dir = Made("llama");
  const auto tokens = Generate({.model_dir = dir, .nf4 = true, .on_cpu = true}, true);
  Model model = LoadForInference(dir, {}, Dtype::kFloat32, /*nf4=*/true, at::kCPU);
  for (size_t i = 0; i < tokens.size(); ++i)
    EXPECT_EQ(tokens[i], GreedyUncached(model, Prompts()[i], kNewTokens));
  EXPECT_NE(tokens, Generate({.model_dir = dir, .on_cpu = true}, true));
}

TEST_F(GenerateTest, EndsAtAStopTokenAtTheCountAndAtTheContext) {
  const std::filesystem::path dir = Made("llama");
  const auto tokens = Generate({.model_dir = dir, .on_cpu = true}, true)[0];
  Generator generator({.model_dir = dir, .on_cpu = true});
  const std::vector<int32_t> prompt = Prompts()[0];
  EXPECT_EQ(generator.context(), 128);
  const auto finish = [&](SequenceOptions options) {
    generator.Add(std::move(options));
    std::vector<int32_t> got;
    Finish last = Finish::kNone;
    while (!generator.idle()) {
      const NextToken next = generator.Step()[0];
      got.push_back(next.token);
      last = next.finish;
    }
    return std::make_pair(got, last);
  };
  const size_t first = std::find(tokens.begin(), tokens.end(), tokens[5]) - tokens.begin();
  const auto stopped = finish({prompt, {tokens[5]}, kNewTokens, {}});
  EXPECT_EQ(stopped.first, std::vector<int32_t>(tokens.begin(), tokens.begin() + first + 1));
  EXPECT_EQ(stopped.second, Finish::kStop);
  const auto counted = finish({prompt, {}, 3, {}});
  EXPECT_EQ(counted.first.size(), 3U);
  EXPECT_EQ(counted.second, Finish::kLength);
  const auto full = finish({std::vector<int32_t>(120, 5), {}, 1000, {}});
  EXPECT_EQ(full.first.size(), 8U);
  EXPECT_EQ(full.second, Finish::kLength);
}

TEST_F(GenerateTest, SequencesComeAndGoBetweenSteps) {
  const std::filesystem::path dir = Made("window");
  const auto expected = Generate({.model_dir = dir, .on_cpu = true}, true);
  Generator generator({.model_dir = dir, .on_cpu = true});
  std::map<int64_t, std::vector<int32_t>> tokens;
  const auto step = [&] {
    for (const NextToken& next : generator.Step()) tokens[next.sequence].push_back(next.token);
  };
  generator.Add({Prompts()[0], {}, kNewTokens, {}});
  step();
  generator.Add({Prompts()[1], {}, kNewTokens, {}});
  for (int i = 0; i < 4; ++i) step();
  generator.Remove(0);
  generator.Add({Prompts()[2], {}, kNewTokens, {}});
  while (!generator.idle()) step();
  EXPECT_EQ(tokens[0], std::vector<int32_t>(expected[0].begin(), expected[0].begin() + 5));
  EXPECT_EQ(tokens[1], expected[1]);
  EXPECT_EQ(tokens[2], expected[2]);
}

TEST_F(GenerateTest, PromptsThatTheModelCannotTakeAreRefused) {
  Generator generator({.model_dir = Made("llama"), .on_cpu = true});
  for (const std::vector<int32_t>& prompt :
       {std::vector<int32_t>{}, {64}, {-1}, std::vector<int32_t>(128, 1)}) {
    EXPECT_THROW(generator.Add({prompt, {}, 1, {}}), EngineError);
  }
  EXPECT_TRUE(generator.idle());
}

// The CPU's pass and ATen's, which serves other devices.
TEST(CachedAttentionTest, AgreesWithItsTwinOverWindowsAndCaps) {
  at::manual_seed(1);
  for (const int64_t window : {0, 1, 5, 300}) {
    for (const double softcap : {0.0, 2.0}) {
      const AttentionShape shape{6, 3, 20, 0.3, softcap, window};
      KvCache own, twin;
      for (int i = 0; i < 270; ++i) {
        const at::Tensor qkv = at::randn({1, 240});
        const at::Tensor got = CachedAttention(qkv, shape, {&own});
        const at::Tensor expected = CachedAttention(qkv.to(at::kDouble), shape, {&twin});
        ASSERT_LT(Distance(got, expected), 3e-6) << window << " " << softcap << " " << i;
      }
    }
  }
}

TEST(RowProductTest, IsTheProductAndEachRowItsOwn) {
  at::manual_seed(2);
  for (const int64_t I : {1, 15, 16, 100, 576}) {
    for (const int64_t O : {1, 5, 64}) {
      for (const at::ScalarType type : {at::kFloat, at::kBFloat16}) {
        const at::Tensor x = at::randn({11, I}).to(type), w = at::randn({O, I}).to(type);
        at::set_num_threads(2);
        const at::Tensor y = RowProduct(x, w);
        const at::Tensor exact = at::mm(x.to(at::kDouble), w.to(at::kDouble).t());
        EXPECT_LT(Distance(y, exact), type == at::kFloat ? 1e-6 : 4e-3) << I << " " << O;
        at::set_num_threads(1);
        for (int64_t t = 0; t < 11; ++t)
          EXPECT_TRUE(at::equal(RowProduct(x.narrow(0, t, 1), w)[0], y[t])) << I << " " << O;
      }
    }
  }
}

}  // namespace
}  // namespace ftd::engine

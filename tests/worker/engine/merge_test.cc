// A merged model is compared before anybody gets it: each way to go wrong is noticed.
#include "worker/engine/merge.h"

#include <bit>
#include <functional>
#include <map>
#include <random>

#include "gmock/gmock.h"
#include "gtest/gtest.h"
#include "lib/base/file.h"
#include "lib/model/architecture.h"
#include "lib/model/safetensors_writer.h"
#include "tests/support/temp_dir.h"
#include "tests/worker/engine/tiny_model.h"
#include "worker/engine/error.h"

namespace ftd::engine {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;
using Factors = std::map<std::string, std::vector<float>>;

constexpr int kRank = 4;
constexpr char kSquare[] = "model.layers.1.self_attn.o_proj.weight";

uint16_t ToBFloat(float value) {
  const auto bits = std::bit_cast<uint32_t>(value);
  return static_cast<uint16_t>((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16);
}

// Rounds the weights of a model in float32 to bfloat16.
void RoundToBFloat(const fs::path& dir) {
  const auto file = SafetensorsFile::Open(dir / "model.safetensors").value();
  std::map<std::string, std::vector<uint16_t>> data;
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, view] : file.tensors()) {
    std::vector<uint16_t>& numbers = data[name];
    for (size_t i = 0; i < view.data.size(); i += 4) {
      float value = 0;
      std::memcpy(&value, view.data.data() + i, sizeof value);
      numbers.push_back(ToBFloat(value));
    }
    tensors.push_back({name,
                       {TensorDtype::kBF16,
                        view.shape,
                        {reinterpret_cast<const char*>(numbers.data()), 2 * numbers.size()}}});
  }
  fs::remove(dir / "model.safetensors");
  ASSERT_TRUE(WriteSafetensors(dir / "model.safetensors", tensors, file.metadata()).ok());
}

Factors RandomFactors(const ModelConfig& config, float size) {
  std::mt19937 random(7);
  std::normal_distribution<float> normal(0, 1);
  Factors factors;
  EXPECT_TRUE(VisitParameters(config, [&](const ParameterInfo& info) {
                for (const TensorInfo& tensor : info.tensors) {
                  if (!info.is_projection) continue;
                  std::vector<float>& a = factors[AdapterTensorName(tensor.name, "lora_A")];
                  std::vector<float>& b = factors[AdapterTensorName(tensor.name, "lora_B")];
                  for (int64_t i = 0; i < kRank * tensor.shape[1]; ++i) a.push_back(normal(random));
                  for (int64_t i = 0; i < kRank * tensor.shape[0]; ++i)
                    b.push_back(size * normal(random));
                }
                return absl::OkStatus();
              }).ok());
  return factors;
}

void WriteAdapter(const fs::path& dir, const Factors& factors, double alpha) {
  fs::create_directories(dir);
  std::vector<TensorToWrite> tensors;
  for (const auto& [name, numbers] : factors) {
    const auto longer = static_cast<int64_t>(numbers.size()) / kRank;
    const bool is_a = name.find("lora_A") != std::string::npos;
    tensors.push_back(
        {name,
         {TensorDtype::kF32,
          is_a ? std::vector<int64_t>{kRank, longer} : std::vector<int64_t>{longer, kRank},
          {reinterpret_cast<const char*>(numbers.data()), 4 * numbers.size()}}});
  }
  ASSERT_TRUE(WriteSafetensors(dir / "adapter_model.safetensors", tensors, {}).ok());
  const nlohmann::json config = {{"peft_type", "LORA"}, {"r", kRank}, {"lora_alpha", alpha}};
  ASSERT_TRUE(WriteFileAtomically(dir / "adapter_config.json", config.dump()).ok());
}

// Rows become columns: the factors of (B A)ᵀ are Aᵀ and Bᵀ.
std::vector<float> Transposed(const std::vector<float>& matrix, size_t columns) {
  std::vector<float> result;
  for (size_t column = 0; column < columns; ++column)
    for (size_t i = column; i < matrix.size(); i += columns) result.push_back(matrix[i]);
  return result;
}

class MergeTest : public ::testing::TestWithParam<bool> {
 protected:
  void SetUp() override {
    ftd::testing::WriteTinyModel(dir_ / "model", 1);
    if (GetParam()) RoundToBFloat(dir_ / "model");
    factors_ = RandomFactors(ReadModelConfig(dir_ / "model").value(), kSize);
    WriteAdapter(dir_ / "adapter", factors_, kAlpha);
  }

  // Merges an adapter, and compares the result with base + the right adapter.
  MergeCheck Check(const std::string& adapter) {
    const fs::path out = dir_ / ("out-" + adapter);
    fs::create_directories(out);
    WriteMerged({dir_ / "model", dir_ / adapter, std::nullopt}, out, nullptr);
    fs::copy(dir_ / "model" / "config.json", out / "config.json");
    return CheckMerged({dir_ / "model", dir_ / "adapter", std::nullopt}, out, nullptr);
  }

  void ExpectRefused(const std::string& what, double alpha,
                     const std::function<void(Factors&)>& change, const std::string& named) {
    SCOPED_TRACE(what);
    Factors factors = factors_;
    change(factors);
    WriteAdapter(dir_ / what, factors, alpha);
    try {
      const MergeCheck check = Check(what);
      FAIL() << "it passed, with " << check.map_share << " of what rounding may change";
    } catch (const EngineError& error) {
      EXPECT_THAT(error.what(), HasSubstr(named));
    }
  }

  // Of B, so small that B A is a hundredth of a weight: what a short training makes.
  static constexpr float kSize = 0.001F;
  static constexpr double kAlpha = 4;
  const TempDir dir_;
  Factors factors_;
};

TEST_P(MergeTest, ARightOnePasses) {
  const MergeCheck check = Check("adapter");
  std::printf("logits %.2g of %.2g, maps %.2g\n", check.logits_error, check.logits_bound,
              check.map_share);
  EXPECT_LE(check.logits_error, check.logits_bound);
  EXPECT_LE(check.map_share, 0.6);
  EXPECT_EQ(check.map_share > 0.2,
            GetParam());  // float32 rounds by less than the bound has room for
}

TEST_P(MergeTest, AWrongOneDoesNot) {
  const std::string a = AdapterTensorName(kSquare, "lora_A"),
                    b = AdapterTensorName(kSquare, "lora_B");
  ExpectRefused(
      "twice the scale", 2 * kAlpha, [](Factors&) {}, "changes its output");
  ExpectRefused(
      "the other sign", -kAlpha, [](Factors&) {}, "changes its output");
  ExpectRefused(
      "a missing tensor", kAlpha, [&](Factors& f) { std::fill(f[b].begin(), f[b].end(), 0.0F); },
      kSquare);
  ExpectRefused(
      "a transposed tensor", kAlpha,
      [&](Factors& f) {
        const std::vector<float> old_a = f[a];
        f[a] = Transposed(f[b], kRank);
        f[b] = Transposed(old_a, old_a.size() / kRank);
      },
      kSquare);
  ExpectRefused(
      "not a number", kAlpha,
      [&](Factors& f) { f[b][0] = std::numeric_limits<float>::quiet_NaN(); }, "cannot hold");
}

TEST_P(MergeTest, SoIsATensorThatNoAdapterTouches) {
  ftd::testing::WriteTinyModel(dir_ / "other", 2);
  if (GetParam()) RoundToBFloat(dir_ / "other");
  // Another base with the same adapter: its embedding comes first.
  fs::create_directories(dir_ / "out");
  WriteMerged({dir_ / "other", dir_ / "adapter", std::nullopt}, dir_ / "out", nullptr);
  fs::copy(dir_ / "model" / "config.json", dir_ / "out" / "config.json");
  try {
    CheckMerged({dir_ / "model", dir_ / "adapter", std::nullopt}, dir_ / "out", nullptr);
    FAIL() << "it passed";
  } catch (const EngineError& error) {
    EXPECT_THAT(error.what(), HasSubstr("is another"));
  }
}

INSTANTIATE_TEST_SUITE_P(Dtypes, MergeTest, ::testing::Bool(),
                         [](const auto& info) { return info.param ? "bfloat16" : "float32"; });

}  // namespace
}  // namespace ftd::engine

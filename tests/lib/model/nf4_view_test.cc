#include "lib/model/nf4_view.h"

#include <filesystem>

#include "gtest/gtest.h"
#include "lib/model/safetensors_writer.h"
#include "nlohmann/json.hpp"
#include "tests/support/expect_status.h"
#include "tests/support/temp_dir.h"

namespace ftd {
namespace {

using nlohmann::json;
constexpr char kName[] = "model.layers.0.mlp.up_proj.weight";
constexpr char kState[] = ".quant_state.bitsandbytes__nf4";

// A weight of [3, 50] in three blocks of scales, as bitsandbytes stores it.
class Nf4ViewTest : public testing::Test {
 protected:
  Nf4ViewTest() {
    parts_ = {{"", {TensorDtype::kU8, 75}},
              {".absmax", {TensorDtype::kU8, 3}},
              {".quant_map", {TensorDtype::kF32, 16}},
              {".nested_absmax", {TensorDtype::kF32, 1}},
              {".nested_quant_map", {TensorDtype::kF32, 256}}};
    state_ = {{"quant_type", "nf4"},     {"blocksize", 64},         {"dtype", "bfloat16"},
              {"shape", {3, 50}},        {"nested_blocksize", 256}, {"nested_dtype", "float32"},
              {"nested_offset", 0.03125}};
  }

  absl::StatusOr<Nf4View> Find() {
    const std::string zeros(4096, '\0'), state = state_is_json_ ? state_.dump() : "[";
    std::vector<TensorToWrite> tensors = {
        {std::string(kName) + kState,
         {TensorDtype::kU8, {static_cast<int64_t>(state.size())}, state}}};
    for (const auto& [suffix, part] : parts_) {
      const size_t bytes = TensorDtypeSize(part.first) * static_cast<size_t>(part.second);
      tensors.push_back(
          {kName + suffix, {part.first, {part.second}, std::string_view(zeros).substr(0, bytes)}});
    }
    std::filesystem::remove(dir_ / "model.safetensors");
    EXPECT_OK(WriteSafetensors(dir_ / "model.safetensors", tensors, {}));
    auto weights = ModelWeights::Open(dir_.path());
    EXPECT_OK(weights);
    EXPECT_TRUE(IsNf4(*weights, kName));
    return FindNf4(*weights, kName);
  }

  TempDir dir_;
  std::map<std::string, std::pair<TensorDtype, int64_t>> parts_;
  json state_;
  bool state_is_json_ = true;
};

TEST_F(Nf4ViewTest, DoubleQuantised) {
  const auto view = Find();
  ASSERT_OK(view);
  EXPECT_EQ(view->rows, 3);
  EXPECT_EQ(view->cols, 50);
  EXPECT_EQ(view->nested_offset, 0.03125);
}

TEST_F(Nf4ViewTest, CodesMayBePackedInAnyDtype) {
  parts_[""] = {TensorDtype::kF32, 19};
  EXPECT_ERROR(Find(), kPrecondition, "MODEL_CORRUPT", "75");
  state_["shape"] = {8, 19};
  EXPECT_OK(Find());
}

TEST_F(Nf4ViewTest, QuantisedOnce) {
  for (const char* key : {"nested_blocksize", "nested_dtype", "nested_offset"}) state_.erase(key);
  EXPECT_ERROR(Find(), kPrecondition, "MODEL_CORRUPT", ".absmax");
  parts_[".absmax"] = {TensorDtype::kF32, 3};
  const auto view = Find();
  ASSERT_OK(view);
  EXPECT_TRUE(view->nested_map.data.empty());
}

TEST_F(Nf4ViewTest, PartsThatAreMissingOrDoNotFit) {
  for (const char* suffix : {"", ".absmax", ".nested_absmax", ".nested_quant_map"}) {
    SCOPED_TRACE(suffix);
    const auto part = parts_[suffix];
    parts_[suffix].second += 1;
    EXPECT_ERROR(Find(), kPrecondition, "MODEL_CORRUPT", kName + std::string(suffix));
    parts_.erase(suffix);
    EXPECT_ERROR(Find(), kPrecondition, "MODEL_CORRUPT", kName + std::string(suffix));
    parts_[suffix] = part;
  }
}

TEST_F(Nf4ViewTest, StatesThatAreNotToBeTrusted) {
  const struct {
    const char* field;
    json value;
    const char* reason;
  } kTable[] = {
      {"blocksize", 128, "MODEL_UNSUPPORTED"},  {"nested_blocksize", 64, "MODEL_UNSUPPORTED"},
      {"blocksize", "64", "MODEL_UNSUPPORTED"}, {"shape", {3, 0}, "MODEL_CORRUPT"},
      {"shape", {150}, "MODEL_CORRUPT"},        {"shape", {1 << 30, -5}, "MODEL_CORRUPT"},
      {"shape", {1e300, 1}, "MODEL_CORRUPT"},   {"shape", nullptr, "MODEL_CORRUPT"},
      {"nested_offset", "x", "MODEL_CORRUPT"},
  };
  for (const auto& row : kTable) {
    SCOPED_TRACE(row.field + row.value.dump());
    const json state = state_;
    state_[row.field] = row.value;
    EXPECT_ERROR(Find(), kPrecondition, row.reason, kName);
    state_ = state;
  }
  state_is_json_ = false;
  EXPECT_ERROR(Find(), kPrecondition, "MODEL_CORRUPT", "not JSON");
}

}  // namespace
}  // namespace ftd

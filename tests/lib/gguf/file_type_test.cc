#include "lib/gguf/file_type.h"

#include <map>
#include <string>

#include "tests/support/expect_status.h"

namespace ftd::gguf {
namespace {

PlannedTensor Matrix(const std::string& name, int64_t layer, int64_t columns) {
  PlannedTensor tensor;
  tensor.name = layer < 0 ? name : "blk." + std::to_string(layer) + "." + name;
  tensor.layer = layer;
  tensor.columns = columns;
  return tensor;
}

std::string TypeIn(const char* file, const PlannedTensor& tensor, const MixTraits& traits) {
  const auto type = FindFileType(file);
  EXPECT_OK(type);
  return std::string(RowOf(TypeOf(**type, traits, tensor)).name);
}

// Facts of llama.cpp's src/llama-quant.cpp.
TEST(FileType, MixesAsLlamaCpp) {
  MixTraits traits;
  traits.layers = 16;
  const PlannedTensor head = Matrix("output.weight", -1, 256);
  const PlannedTensor embedding = Matrix("token_embd.weight", -1, 256);
  EXPECT_EQ(TypeIn("q4_k_m", head, traits), "Q6_K");
  EXPECT_EQ(TypeIn("q4_k_m", embedding, traits), "Q4_K");
  EXPECT_EQ(TypeIn("q4_0", head, traits), "Q6_K");
  EXPECT_EQ(TypeIn("q8_0", head, traits), "Q8_0");
  EXPECT_EQ(TypeIn("f16", head, traits), "F16");
  const MixTraits tied = {.layers = 16, .embedding_is_head = true};
  EXPECT_EQ(TypeIn("q4_k_m", embedding, tied), "Q6_K");

  std::string raised;
  for (int64_t layer = 0; layer < traits.layers; ++layer) {
    const std::string values = TypeIn("q4_k_m", Matrix("attn_v.weight", layer, 256), traits);
    EXPECT_EQ(TypeIn("q4_k_m", Matrix("ffn_down.weight", layer, 256), traits), values);
    EXPECT_EQ(TypeIn("q4_k_m", Matrix("attn_qkv.weight", layer, 256), traits), values);
    EXPECT_EQ(TypeIn("q4_k_m", Matrix("attn_k.weight", layer, 256), traits), "Q4_K");
    raised += values == "Q6_K" ? '6' : '4';
  }
  EXPECT_EQ(raised, "6644644644644666");
  traits = {.layers = 80, .has_70b_shape = true};
  EXPECT_EQ(TypeIn("q4_k_m", Matrix("attn_v.weight", 10, 256), traits), "Q5_K");
  EXPECT_EQ(TypeIn("q4_k_m", Matrix("attn_v.weight", 12, 256), traits), "Q6_K");
}

TEST(FileType, TakesAnotherTypeWhereRowsAreNoWholeBlocks) {
  const MixTraits traits = {.layers = 80};
  const auto type_of = [&](const char* file, int64_t columns) {
    return TypeIn(file, Matrix("attn_k.weight", 11, columns), traits);
  };
  EXPECT_EQ(type_of("q4_k_m", 96), "Q5_0");
  EXPECT_EQ(type_of("q5_k_m", 96), "Q5_1");
  EXPECT_EQ(type_of("q6_k", 96), "Q8_0");
  EXPECT_EQ(type_of("q4_k_m", 80), "F16");
  EXPECT_EQ(type_of("q8_0", 80), "F16");
  EXPECT_EQ(TypeIn("q4_0", Matrix("output.weight", -1, 96), traits), "Q8_0");
}

TEST(FileType, KeepsVectorsNormsAndConvolutions) {
  PlannedTensor norm = Matrix("attn_norm.weight", 0, 256);
  norm.is_vector = true;
  EXPECT_EQ(TypeIn("q4_k_m", norm, {}), "F32");
  EXPECT_EQ(TypeIn("f16", Matrix("ssm_conv1d.weight", 0, 256), {}), "F32");
}

TEST(FileType, NamesTheKnownOnes) {
  EXPECT_ERROR(FindFileType("q3"), absl::StatusCode::kInvalidArgument, "FIELD_INVALID", "q4_k_m");
}

}  // namespace
}  // namespace ftd::gguf

#include "lib/gguf/file_type.h"

#include "absl/strings/str_join.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"

namespace ftd::gguf {
namespace {

constexpr FileType kFileTypes[] = {
    {"f32", 0, TensorType::kF32},
    {"f16", 1, TensorType::kF16},
    {"bf16", 32, TensorType::kBF16},
    {"q8_0", 7, TensorType::kQ8_0},
    {"q6_k", 18, TensorType::kQ6K, false, true},
    {"q5_k_m", 17, TensorType::kQ5K, true, true},
    {"q5_0", 8, TensorType::kQ5_0, false, true},
    {"q4_k_m", 15, TensorType::kQ4K, true, true},
    {"q4_0", 2, TensorType::kQ4_0, false, true},
};

// The first and the last eighth of the layers, and each third between.
bool IsRaised(int64_t layer, int64_t layers) {
  return layer < layers / 8 || layer >= 7 * layers / 8 || (layer - layers / 8) % 3 == 2;
}

bool Divides(TensorType type, int64_t columns) { return columns % RowOf(type).block == 0; }

// The type for rows that do not hold whole blocks of `type`.
TensorType Fitting(TensorType type, int64_t columns) {
  if (Divides(type, columns)) return type;
  TensorType smaller = type;
  if (type == TensorType::kQ4K) smaller = TensorType::kQ5_0;
  if (type == TensorType::kQ5K) smaller = TensorType::kQ5_1;
  if (type == TensorType::kQ6K) smaller = TensorType::kQ8_0;
  return Divides(smaller, columns) ? smaller : TensorType::kF16;
}

bool StaysFloat32(const PlannedTensor& tensor) {
  const std::string_view name = tensor.name;
  return tensor.is_vector || !name.ends_with(".weight") ||
         name.find("ssm_conv1d") != std::string_view::npos;
}

// The type before the rows' length is looked at.
TensorType Mixed(const FileType& file, const MixTraits& traits, const PlannedTensor& tensor) {
  const std::string_view name = tensor.name;
  const bool is_head =
      name == "output.weight" || (name == "token_embd.weight" && traits.embedding_is_head);
  if (is_head && file.raises_output)
    return Divides(file.type, tensor.columns) ? TensorType::kQ6K : TensorType::kQ8_0;
  const bool is_values = name.ends_with(".attn_v.weight") || name.ends_with(".attn_qkv.weight");
  const bool is_down = name.ends_with(".ffn_down.weight");
  if (file.raises_some && (is_values || is_down) && IsRaised(tensor.layer, traits.layers))
    return TensorType::kQ6K;
  if (is_values && traits.has_70b_shape && file.type == TensorType::kQ4K) return TensorType::kQ5K;
  return file.type;
}

}  // namespace

absl::Span<const FileType> FileTypes() { return kFileTypes; }

std::string FileTypeNames() {
  return absl::StrJoin(kFileTypes, ", ",
                       [](std::string* out, const FileType& type) { out->append(type.name); });
}

absl::StatusOr<const FileType*> FindFileType(std::string_view name) {
  for (const FileType& type : kFileTypes) {
    if (type.name == name) return &type;
  }
  return FieldError({{"type", Concat("must be one of ", FileTypeNames(), "; got \"", name, "\"")}});
}

MixTraits MixTraitsOf(const ModelConfig& config) {
  constexpr int64_t kLayersOf70b = 80;
  MixTraits traits;
  traits.layers = config.num_hidden_layers;
  traits.embedding_is_head = config.tie_word_embeddings;
  traits.has_70b_shape = config.num_hidden_layers == kLayersOf70b &&
                         config.num_attention_heads != config.num_key_value_heads;
  return traits;
}

TensorType TypeOf(const FileType& file, const MixTraits& traits, const PlannedTensor& tensor) {
  if (StaysFloat32(tensor)) return TensorType::kF32;
  return Fitting(Mixed(file, traits, tensor), tensor.columns);
}

}  // namespace ftd::gguf

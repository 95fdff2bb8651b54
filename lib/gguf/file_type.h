// What a user asks for, "f16" or "q4_k_m", and the type that it gives each tensor: llama.cpp's own
// mix (src/llama-quant.cpp), which spends more bits where fewer hurt most.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lib/gguf/tensor_plan.h"
#include "lib/gguf/tensor_type.h"

namespace ftd::gguf {

struct FileType {
  std::string_view name;
  uint32_t id;                 // general.file_type
  TensorType type;             // of most matrices
  bool raises_some = false;    // some layers' values and down projections: Q6_K
  bool raises_output = false;  // the head, or the embedding where it is the head: Q6_K
};

absl::Span<const FileType> FileTypes();

// Names of those that are made where nobody asks for another: of a model, and of an adapter alone.
inline constexpr std::string_view kModelDefault = "q8_0";
inline constexpr std::string_view kAdapterDefault = "f16";

// "f32, f16, …": for messages and help.
std::string FileTypeNames();

// FIELD_INVALID for a name that the table does not have.
absl::StatusOr<const FileType*> FindFileType(std::string_view name);

// What the mix depends on beside the tensor.
struct MixTraits {
  int64_t layers = 0;
  bool embedding_is_head = false;
  bool has_70b_shape = false;  // llama.cpp gives more bits to the values of such models
};

MixTraits MixTraitsOf(const ModelConfig& config);

// Vectors, norms and convolutions stay float32. Rows that are not whole blocks get a type whose
// blocks fit, or float16.
TensorType TypeOf(const FileType& file, const MixTraits& traits, const PlannedTensor& tensor);

}  // namespace ftd::gguf

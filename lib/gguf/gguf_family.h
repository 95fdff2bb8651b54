// What llama.cpp calls the model families that ftd trains: a row per model type, with the names of
// its tensors and its metadata keys. Facts of llama.cpp's src/models/*.cpp, which read them.
#pragma once

#include <cstdint>
#include <string_view>

#include "absl/status/statusor.h"
#include "absl/types/span.h"
#include "lib/model/architecture.h"
#include "lib/model/model_config.h"

namespace ftd::gguf {

// In which order llama.cpp wants the rows, or columns, of a tensor.
enum class Order {
  kAsIs,
  kQueryPairs,     // neighbours rotate together, in place of features i and i + H/2 of a head
  kKeyPairs,       // likewise
  kDeltaChannels,  // value heads of the gated delta rule, after its queries and keys
  kDeltaValues,    // value heads
  kDeltaHeads,     // one row a value head
  kDeltaColumns,   // value heads, along the columns
};

// What becomes of each number.
enum class Mapping {
  kAsIs,
  kNormWeight,  // 1 + w, where the family's norm multiplies by that
  kDecay,       // -exp(w)
};

// The tensors of a role whose module is `module`, or of any module when that is empty.
struct NameRow {
  ParameterRole role;
  std::string_view module;
  std::string_view name;  // after "blk.N." within a layer, and before the suffix
  Order order = Order::kAsIs;
  Mapping mapping = Mapping::kAsIs;
};

enum class KeyKind { kCount, kNumber };

// A metadata key below the architecture's name. A value of 0 is left out.
struct KeyRow {
  std::string_view key;
  KeyKind kind;
  double (*value)(const ModelConfig& config);
};

// What llama.cpp has in its code for a family, while config.json may say otherwise.
struct Condition {
  bool (*holds)(const ModelConfig& config);
  std::string_view otherwise;  // "llama.cpp …"
};

struct GgufFamily {
  std::string_view model_type;
  std::string_view architecture;
  bool pairs_neighbours = false;    // rotates features 2i and 2i + 1 of a head
  bool has_windows = false;         // keeps sliding windows; else all tokens are seen
  bool has_llama3_rope = false;     // reads the tensor rope_freqs
  bool has_longrope = false;        // reads the tensors rope_factors_long and rope_factors_short
  bool has_yarn_betas = false;      // reads beta_fast and beta_slow, else 32 and 1
  bool has_output_biases = false;   // of attention's output and the feed-forward block
  bool needs_head = false;          // also where the embedding is the head
  absl::Span<const NameRow> names;  // before the common ones
  absl::Span<const KeyRow> keys;    // besides the common ones
  absl::Span<const Condition> conditions;
};

absl::Span<const NameRow> CommonNames();
absl::Span<const KeyRow> CommonKeys();

// MODEL_UNSUPPORTED when llama.cpp lacks the family, or computes such a model otherwise.
absl::StatusOr<const GgufFamily*> FindGgufFamily(const ModelConfig& config);

}  // namespace ftd::gguf

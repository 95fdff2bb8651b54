#include "lib/gguf/model_metadata.h"

#include <cmath>

#include "lib/base/concat.h"
#include "lib/model/families.h"

namespace ftd::gguf {
namespace {

class Keys {
 public:
  Keys(std::string_view architecture, Metadata* metadata)
      : prefix_(Concat(architecture, ".")), metadata_(metadata) {}

  template <typename T>
  void Add(std::string_view key, const T& value) {
    metadata_->Add(prefix_ + std::string(key), value);
  }
  void Count(std::string_view key, int64_t value) { Add(key, static_cast<uint32_t>(value)); }
  void Number(std::string_view key, double value) { Add(key, static_cast<float>(value)); }

  void Add(const KeyRow& row, const ModelConfig& config) {
    const double value = row.value(config);
    if (value == 0) return;
    if (row.kind == KeyKind::kCount) Count(row.key, static_cast<int64_t>(value));
    if (row.kind == KeyKind::kNumber) Number(row.key, value);
  }

 private:
  std::string prefix_;
  Metadata* metadata_;
};

void AddRopeScaling(const RopeConfig& rope, const GgufFamily& family, Keys* keys) {
  using enum RopeConfig::Type;
  if (rope.type == kLinear) {
    keys->Add("rope.scaling.type", std::string("linear"));
    keys->Number("rope.scaling.factor", rope.factor);
  }
  if (rope.type != kYarn && rope.type != kLongrope) return;
  keys->Add("rope.scaling.type", std::string(rope.type == kYarn ? "yarn" : "longrope"));
  keys->Count("rope.scaling.original_context_length",
              static_cast<int64_t>(rope.original_max_position_embeddings));
  // llama.cpp multiplies YaRN's own factor of cos and sin by this key.
  double own_factor = 1;
  if (rope.type == kYarn) {
    keys->Number("rope.scaling.factor", rope.factor);
    own_factor = 1 + 0.1 * std::log(rope.factor);
  }
  if (std::abs(rope.attention_factor / own_factor - 1) > 1e-6)
    keys->Number("rope.scaling.attn_factor", rope.attention_factor / own_factor);
  if (rope.type == kYarn && family.has_yarn_betas) {
    keys->Number("rope.scaling.yarn_beta_fast", rope.beta_fast);
    keys->Number("rope.scaling.yarn_beta_slow", rope.beta_slow);
  }
}

// The window of the layers that have one; 0 when none has.
int64_t WindowOf(const ModelConfig& config) {
  int64_t window = 0;
  for (const LayerKind& kind : config.layer_kinds) {
    if (kind.window > 0) window = kind.window;
  }
  return window;
}

void AddWindows(const GgufFamily& family, const ModelConfig& config, Keys* keys,
                std::vector<std::string>* notes) {
  const int64_t window = WindowOf(config);
  if (window == 0) return;
  if (!family.has_windows) {
    if (window < config.max_position_embeddings) {
      notes->push_back(Concat("llama.cpp has no sliding windows in this family: beyond ", window,
                              " tokens its answers differ from transformers'"));
    }
    return;
  }
  std::vector<bool> has_window(config.num_hidden_layers);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    has_window[layer] = config.KindOf(layer).window > 0;
  keys->Count("attention.sliding_window", window);
  keys->Add("attention.sliding_window_pattern", has_window);
  if (config.family->layers.local_rope) keys->Number("rope.freq_base_swa", config.local_rope.theta);
}

void AddDelta(const ModelConfig& config, Keys* keys) {
  if (config.delta.value_heads == 0) return;
  std::vector<bool> recurrent(config.num_hidden_layers);
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer)
    recurrent[layer] = config.KindOf(layer).delta;
  keys->Add("attention.recurrent_layers", recurrent);
  // The pairs of features that rotate by time, height and width, in turn: a third each. Of a text's
  // token the three are the same, so these matter to images alone.
  const auto pairs = static_cast<int32_t>(config.rope.rotary_dim / 2);
  keys->Add("rope.dimension_sections",
            std::vector<int32_t>{(pairs + 2) / 3, (pairs + 1) / 3, pairs / 3, 0});
}

}  // namespace

void AddModelKeys(const GgufFamily& family, const ModelConfig& config, Metadata* metadata,
                  std::vector<std::string>* notes) {
  Keys keys(family.architecture, metadata);
  for (const absl::Span<const KeyRow> rows : {CommonKeys(), family.keys}) {
    for (const KeyRow& row : rows) keys.Add(row, config);
  }
  AddRopeScaling(config.rope, family, &keys);
  if (config.rope.type == RopeConfig::Type::kLongrope) {
    notes->push_back(Concat(
        "llama.cpp takes the long RoPE factors when its context (-c) is above ",
        static_cast<int64_t>(config.rope.original_max_position_embeddings),
        " tokens, transformers when the text is: set -c to no more than that for short texts"));
  }
  AddWindows(family, config, &keys, notes);
  AddDelta(config, &keys);
}

}  // namespace ftd::gguf

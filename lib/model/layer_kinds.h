// What layers of one model differ in: how they mix tokens, how far they see, and whether and how
// they rotate.
#pragma once

#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ftd {

struct LayerKind {
  // How many tokens a query sees, its own included; 0: all before it.
  int64_t window = 0;
  bool rotates = true;      // else queries and keys carry no position
  bool local_rope = false;  // rotates by ModelConfig::local_rope
  bool delta = false;       // has the gated delta rule in place of attention

  bool operator==(const LayerKind&) const = default;
};

// How a family's config.json says which layers have a window, or no attention.
enum class WindowRule {
  kNone,         // none has; fields about windows are not read
  kAll,          // all, where sliding_window is set
  kLayerTypes,   // layer_types, else all but each `period`-th
  kQwen,         // use_sliding_window and layer_types, else those from max_window_layers on
  kWithoutRope,  // use_sliding_window and layer_types, else those that do not rotate
  kDelta,        // none has; layer_types, else all but each `period`-th have the gated delta rule
};

struct LayerDefaults {
  WindowRule rule = WindowRule::kNone;
  int64_t window = 0;  // of the config class; 0: none
  int64_t period = 1;  // of kLayerTypes: each so-manieth layer has no window; likewise kDelta
  const char* period_field = nullptr;  // where config.json may say another period
  int64_t unrotated_every = 0;         // of kWithoutRope: each so-manieth layer does not rotate
  // Layers with a window rotate by local_rope.
  bool local_rope = false;
};

// Returns the kinds of the layers, or fewer that repeat: layer i is of kind i modulo the size.
// Errors: config_json.h's.
absl::StatusOr<std::vector<LayerKind>> ReadLayerKinds(const nlohmann::json& json,
                                                      const LayerDefaults& defaults,
                                                      int64_t num_hidden_layers);

}  // namespace ftd

// What a running sequence keeps of the tokens that have been through a model, so that the next one
// goes through it alone.
#pragma once

#include <cstdint>
#include <vector>

#include "worker/engine/ops/attention/kv_cache.h"
#include "worker/engine/ops/delta/step.h"

namespace ftd::engine {

// One of the two, as the layer mixes.
struct LayerCache {
  KvCache attention;
  DeltaCache delta;
};

struct SequenceCache {
  std::vector<LayerCache> layers;  // as many as the model has
  int64_t tokens = 0;              // that have been through the model
};

}  // namespace ftd::engine

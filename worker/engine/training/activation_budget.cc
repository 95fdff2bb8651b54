#include "worker/engine/training/activation_budget.h"

#include <algorithm>
#include <vector>

#include "lib/base/ceil_div.h"
#include "lib/plan/work_sizes.h"

namespace ftd::engine {

int64_t ActivationBudget(int64_t free_bytes) {
  // Kernels and workspaces that are loaded on first use do not grow with the card; gaps between
  // blocks do.
  constexpr int64_t kLoadedLater = int64_t{1} << 30;
  return std::max<int64_t>(free_bytes - free_bytes / 32 - kLoadedLater, 1);
}

int64_t HostActivationBudget(int64_t available_bytes, int64_t reserved) {
  return std::max<int64_t>(available_bytes - available_bytes / 8 - reserved, 1);
}

BatchShape ShapeOf(const FlatBatch& batch) {
  const std::vector<int64_t>& offsets = batch.documents.offsets;
  BatchShape shape{.tokens = offsets.back(),
                   .labels = batch.targets.numel(),
                   .documents = static_cast<int64_t>(offsets.size()) - 1,
                   .distinct = batch.distinct_ids.numel(),
                   .longest = batch.documents.longest};
  for (size_t d = 1; d < offsets.size(); ++d)
    shape.chunks += CeilDiv(offsets[d] - offsets[d - 1], kChunkTokens);
  return shape;
}

}  // namespace ftd::engine

#include "worker/engine/ops/delta/chunks.h"

#include <ATen/ops/argsort.h>
#include <ATen/ops/ones.h>
#include <ATen/ops/tensor.h>
#include <ATen/ops/zeros.h>

#include <algorithm>
#include <numeric>

#include "lib/base/ceil_div.h"

namespace ftd::engine {
namespace {

// Returns the borders of the documents [documents + 1], int64, on the device of the batch.
at::Tensor Borders(const Documents& documents, const at::TensorOptions& options) {
  if (documents.cu_seqlens.defined()) return documents.cu_seqlens.to(at::kLong);
  return at::tensor(documents.offsets, options);
}

// Returns the documents' ranks by their number of chunks, the most first; equal ones in order.
std::vector<int64_t> RanksOf(const std::vector<int64_t>& own) {
  std::vector<int64_t> order(own.size()), ranks(own.size());
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t a, int64_t b) { return own[a] > own[b]; });
  for (size_t i = 0; i < order.size(); ++i) ranks[order[i]] = static_cast<int64_t>(i);
  return ranks;
}

}  // namespace

// With r_d the rank of document d by its number of chunks, and b_i the chunks before the i-th ones:
//   slot of token p of document d = (b_⌊p/C⌋ + r_d) · C + p mod C
// The counts come from the offsets that the host has; the slots are computed where the tokens are.
Chunks MakeChunks(const Documents& documents, const at::Tensor& positions) {
  Chunks chunks;
  chunks.positions = positions;
  std::vector<int64_t> chunks_of;
  for (size_t d = 0; d + 1 < documents.offsets.size(); ++d) {
    const int64_t own = CeilDiv(documents.offsets[d + 1] - documents.offsets[d], kChunkTokens);
    if (own > static_cast<int64_t>(chunks.counts.size())) chunks.counts.resize(own);
    for (int64_t i = 0; i < own; ++i) ++chunks.counts[i];
    chunks.total += own;
    chunks_of.push_back(own);
  }
  chunks.ranks = RanksOf(chunks_of);
  const at::Tensor borders = Borders(documents, positions.options());
  const at::Tensor own = borders.diff().add_(kChunkTokens - 1).floor_divide_(kChunkTokens);
  const at::Tensor order = at::argsort(own, /*stable=*/true, /*dim=*/0, /*descending=*/true);
  const at::Tensor rank = at::argsort(order, /*stable=*/true);
  const auto steps = static_cast<int64_t>(chunks.counts.size());
  const at::Tensor step = at::ones({steps, 1}, positions.options()).cumsum(0).sub_(1);
  const at::Tensor counts = own.unsqueeze(0).gt(step).sum(1);
  const at::Tensor before = counts.cumsum(0).sub_(counts);
  const at::Tensor document = positions.eq(0).cumsum(0).sub_(1);  // one begins at each 0
  chunks.slots = before.index_select(0, positions.floor_divide(kChunkTokens))
                     .add_(rank.index_select(0, document))
                     .mul_(kChunkTokens)
                     .add_(positions.remainder(kChunkTokens));
  return chunks;
}

at::Tensor ToChunks(const at::Tensor& x, const Chunks& chunks) {
  std::vector<int64_t> shape = x.sizes().vec();
  shape[0] = chunks.total * kChunkTokens;
  at::Tensor y = at::zeros(shape, x.options().dtype(at::kFloat));
  return y.index_copy_(0, chunks.slots, x.to(at::kFloat));
}

at::Tensor FromChunks(const at::Tensor& x, const Chunks& chunks) {
  return x.index_select(0, chunks.slots);
}

}  // namespace ftd::engine

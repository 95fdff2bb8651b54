// The chunks that the gated delta rule takes a flat batch of documents in: within a chunk all
// tokens at once, from chunk to chunk in turn, over all documents together.
//
// A document's last chunk is filled up with tokens that change nothing. The first chunks of all
// documents lie together, the document with the most chunks first; then the second chunks of those
// that have one; and so on. What follows from a chunk is thus at the same place of the next
// stretch.
//
// Legend: T tokens, n chunks, C = kChunkTokens.
#pragma once

#include <ATen/core/Tensor.h>

#include <cstdint>
#include <vector>

#include "lib/plan/work_sizes.h"
#include "worker/engine/ops/attention/attention.h"

namespace ftd::engine {

struct Chunks {
  std::vector<int64_t> counts;  // of chunks that are their documents' first, second, …
  int64_t total = 0;            // n
  std::vector<int64_t> ranks;   // of the documents, by their number of chunks: 0 has the most
  at::Tensor slots;             // [T] int64: each token's place among the n·C
  at::Tensor positions;         // [T] int64: from 0 in each document
};

// Makes the chunks of a batch. Nothing in it waits for the device.
Chunks MakeChunks(const Documents& documents, const at::Tensor& positions);

// Returns [n·C, ..] in float32 of x [T, ..], with zeros where no token is.
at::Tensor ToChunks(const at::Tensor& x, const Chunks& chunks);

// Returns the tokens' rows [T, ..] of x [n·C, ..].
at::Tensor FromChunks(const at::Tensor& x, const Chunks& chunks);

}  // namespace ftd::engine

#include "worker/engine/ops/nf4/nf4_weight.h"

namespace ftd::engine {
namespace {

// Returns a part's rows; one that the repository left unquantised has them in its own tensor.
int64_t RowsOf(const Nf4Part& part) {
  return part.plain.defined() ? part.plain.size(0) : part.quantized.rows;
}

}  // namespace

int64_t Nf4Weight::cols() const {
  return parts[0].plain.defined() ? parts[0].plain.size(1) : parts[0].quantized.cols;
}

int64_t Nf4Weight::numel() const {
  int64_t rows = 0;
  for (const Nf4Part& part : parts) rows += RowsOf(part);
  return rows * cols();
}

at::Tensor Nf4Weight::Expanded() const {
  // A view of the scratch, as large as this map: parts are expanded one below the other, so that q,
  // k and v, or gate and up, are one product. On a GPU the stream keeps the order: the product that
  // reads the scratch is queued before the next expansion overwrites it.
  at::Tensor expanded = scratch.narrow(0, 0, numel()).view({-1, cols()});
  int64_t first = 0;
  for (const Nf4Part& part : parts) {
    const int64_t rows = RowsOf(part);
    at::Tensor out = expanded.narrow(0, first, rows);
    if (part.plain.defined()) {
      out.copy_(part.plain);
    } else {
      DequantizeNf4(part.quantized, out);
    }
    first += rows;
  }
  return expanded;
}

}  // namespace ftd::engine

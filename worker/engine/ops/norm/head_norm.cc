#include "worker/engine/ops/norm/head_norm.h"

namespace ftd::engine {
namespace {

// The heads' columns of qkv, [T, count·H]; a view.
at::Tensor Columns(const at::Tensor& qkv, int64_t first, int64_t count, int64_t head_dim) {
  return qkv.narrow(1, first * head_dim, count * head_dim);
}

}  // namespace

// The rows of a norm lie side by side in memory, and a head's do not in qkv: they are copied out,
// which keeps what the backward pass needs anyway, and back.
void HeadNormForward(const at::Tensor& qkv, int64_t first, int64_t count, const at::Tensor& w,
                     double eps, HeadNormSaved* saved) {
  const at::Tensor heads = Columns(qkv, first, count, w.size(0));
  // A clone also of one token's heads, which contiguous() would leave where they are overwritten.
  saved->x = heads.clone(at::MemoryFormat::Contiguous).view({-1, w.size(0)});
  heads.copy_(RmsNormForward(saved->x, w, eps, &saved->norm).view(heads.sizes()));
}

void HeadNormBackward(const at::Tensor& dqkv, int64_t first, int64_t count, const at::Tensor& w,
                      const HeadNormSaved& saved, const at::Tensor& w_grad) {
  const at::Tensor heads = Columns(dqkv, first, count, w.size(0));
  const at::Tensor dy = heads.contiguous().view(saved.x.sizes());
  heads.copy_(
      RmsNormBackward(saved.x, w, saved.norm, dy, /*residual=*/{}, w_grad).view(heads.sizes()));
}

}  // namespace ftd::engine

#include "worker/engine/ops/norm/head_norm.h"

namespace ftd::engine {

// The rows of a norm lie side by side in memory, and a head's do not in qkv: they are copied out,
// which keeps what the backward pass needs anyway, and back.
void HeadNormForward(const at::Tensor& qkv, int64_t first, int64_t columns,
                     const NormWeight& weight, double eps, HeadNormSaved* saved) {
  const at::Tensor heads = qkv.narrow(1, first, columns);
  // A clone also of one token's heads, which contiguous() would leave where they are overwritten.
  saved->x = heads.clone(at::MemoryFormat::Contiguous).view({-1, weight.size()});
  heads.copy_(RmsNormForward(saved->x, weight, eps, &saved->norm).view(heads.sizes()));
}

void HeadNormBackward(const at::Tensor& dqkv, int64_t first, int64_t columns,
                      const NormWeight& weight, const HeadNormSaved& saved,
                      const at::Tensor& w_grad) {
  const at::Tensor heads = dqkv.narrow(1, first, columns);
  const at::Tensor dy = heads.contiguous().view(saved.x.sizes());
  heads.copy_(RmsNormBackward(saved.x, weight, saved.norm, dy, /*residual=*/{}, w_grad)
                  .view(heads.sizes()));
}

}  // namespace ftd::engine

#include "worker/engine/ops/rope/rope_cuda.h"

#include <ATen/ops/empty.h>

#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/rope/rope_kernel.h"

namespace ftd::engine::cuda {
namespace {

RopeAngles AnglesOf(const RopeTable& table) {
  return {table.cos.const_data_ptr(), table.sin.const_data_ptr(), TypeOf(table.cos.scalar_type()),
          table.cos.size(-1), table.interleaved};
}

}  // namespace

void ApplyRope(const at::Tensor& heads, const RopeTable& table, bool backward) {
  CheckOneDevice({heads, table.cos, table.sin});
  const RopeHeads views{heads.mutable_data_ptr(), heads.size(0), heads.size(1), heads.stride(0),
                        heads.stride(1)};
  Check(kRopeKernels.apply(views, TypeOf(heads.scalar_type()), AnglesOf(table), backward,
                           CurrentStream(heads.device())),
        "ApplyRope");
}

at::Tensor RotateBack(const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv,
                      const RopeTable& table) {
  CheckOneDevice({dq, dk, dv, table.cos, table.sin});
  const QkvGradient gradient{dq.const_data_ptr(), dk.const_data_ptr(), dv.const_data_ptr(),
                             dq.size(0),          dq.size(1),          dk.size(1),
                             dq.size(2)};
  // The flash kernel has made three tensors; the backward pass of the qkv map reads one.
  const int64_t heads = dq.size(1) + 2 * dk.size(1);
  at::Tensor dqkv = at::empty({dq.size(0), heads * dq.size(2)}, dq.options());
  Check(kRopeKernels.rotate_back(gradient, TypeOf(dq.scalar_type()), AnglesOf(table),
                                 dqkv.mutable_data_ptr(), CurrentStream(dq.device())),
        "RotateBack");
  return dqkv;
}

}  // namespace ftd::engine::cuda

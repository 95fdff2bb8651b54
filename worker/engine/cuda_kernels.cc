#include "worker/engine/cuda_kernels.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <c10/core/Stream.h>
#include <c10/core/impl/VirtualGuardImpl.h>

#include <string>
#include <string_view>

#include "lib/base/ceil_div.h"
#include "worker/engine/cuda/dropout.h"
#include "worker/engine/cuda/loss_tile.h"
#include "worker/engine/cuda/nf4.h"
#include "worker/engine/cuda/rms_norm.h"
#include "worker/engine/cuda/rope.h"
#include "worker/engine/cuda/swiglu.h"
#include "worker/engine/train.h"

namespace ftd::engine::cuda {
namespace {

// Through c10's registry, so that nothing of CUDA need be linked. The CPU, where cuda_on_cpu's
// kernels run, has none.
Stream CurrentStream(c10::Device device) {
  if (device.is_cpu()) return nullptr;
  const c10::impl::VirtualGuardImpl guard(device.type());
  return static_cast<Stream>(guard.getStream(device).native_handle());
}

Type TypeOf(at::ScalarType type) {
  switch (type) {
    case at::kFloat:
      return Type::kFloat32;
    case at::kBFloat16:
      return Type::kBfloat16;
    case at::kHalf:
      return Type::kFloat16;
    default:
      throw EngineError(EngineError::Kind::kInternal, "no CUDA kernel for this dtype");
  }
}

// A kernel takes addresses as they come, and one of the host's would end all use of the GPU.
void CheckOneDevice(at::TensorList tensors) {
  for (const at::Tensor& tensor : tensors) {
    if (tensor.device() != tensors[0].device())
      throw EngineError(EngineError::Kind::kInternal, "a CUDA kernel was given the host's memory");
  }
}

void Check(const char* error, const char* what) {
  if (error == nullptr) return;
  // The first launch of a kernel loads its code, for which a full device has no room.
  const bool full = std::string_view(error) == "out of memory";
  throw EngineError(
      full ? EngineError::Kind::kOutOfMemory : EngineError::Kind::kInternal,
      std::string("CUDA kernel ") + what + " did not start, or one before it failed: " + error);
}

}  // namespace

bool Serves(c10::Device device) {
  if (!device.is_cuda()) return false;
  static const bool available = Available();
  return available;
}

void DequantizeNf4(const Nf4Tensor& q, const at::Tensor& out) {
  const bool nested = q.absmax.scalar_type() == at::kByte;
  CheckOneDevice({out, q.codes, q.absmax});
  if (nested) CheckOneDevice({out, q.nested_absmax, q.nested_map});
  Nf4Pointers pointers{};
  pointers.codes = q.codes.const_data_ptr<uint8_t>();
  if (nested) {
    pointers.absmax = q.absmax.const_data_ptr<uint8_t>();
    pointers.nested_absmax = q.nested_absmax.const_data_ptr<float>();
    pointers.nested_map = q.nested_map.const_data_ptr<float>();
    pointers.nested_offset = q.nested_offset;
  } else {
    pointers.scales = q.absmax.const_data_ptr<float>();
  }
  Check(DequantizeNf4(pointers, out.mutable_data_ptr(), TypeOf(out.scalar_type()), q.rows * q.cols,
                      CurrentStream(out.device())),
        "DequantizeNf4");
}

void QuantizeNf4Blocks(const at::Tensor& weight, at::ScalarType dtype, const at::Tensor& codes,
                       const at::Tensor& scales) {
  CheckOneDevice({weight, codes, scales});
  Check(QuantizeNf4(weight.const_data_ptr(), TypeOf(weight.scalar_type()), TypeOf(dtype),
                    weight.numel(), codes.mutable_data_ptr<uint8_t>(),
                    scales.mutable_data_ptr<float>(), CurrentStream(weight.device())),
        "QuantizeNf4");
}

at::Tensor CrossEntropyInPlace(const at::Tensor& logits, const at::Tensor& targets) {
  CheckOneDevice({logits, targets});
  const at::Tensor row_sums =
      at::empty({logits.size(0), kRowSums}, logits.options().dtype(at::kFloat));
  Check(LossTile(logits.mutable_data_ptr(), TypeOf(logits.scalar_type()),
                 targets.const_data_ptr<int64_t>(), logits.size(0),
                 static_cast<int32_t>(logits.size(1)), row_sums.mutable_data_ptr<float>(),
                 CurrentStream(logits.device())),
        "LossTile");
  return row_sums.sum(0, /*keepdim=*/false, at::kDouble);
}

at::Tensor RmsNormForward(const at::Tensor& x, const at::Tensor& w, double eps, at::Tensor* rstd) {
  CheckOneDevice({x, w});
  at::Tensor y = at::empty_like(x);
  *rstd = at::empty({x.size(0), 1}, x.options().dtype(at::kFloat));
  Check(RmsNormForward(x.const_data_ptr(), w.const_data_ptr(), TypeOf(x.scalar_type()), x.size(0),
                       x.size(1), static_cast<float>(eps), rstd->mutable_data_ptr<float>(),
                       y.mutable_data_ptr(), CurrentStream(x.device())),
        "RmsNormForward");
  return y;
}

at::Tensor RmsNormAgain(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd) {
  CheckOneDevice({x, w, rstd});
  at::Tensor y = at::empty_like(x);
  Check(RmsNormAgain(x.const_data_ptr(), w.const_data_ptr(), TypeOf(x.scalar_type()), x.size(0),
                     x.size(1), rstd.const_data_ptr<float>(), y.mutable_data_ptr(),
                     CurrentStream(x.device())),
        "RmsNormAgain");
  return y;
}

at::Tensor RmsNormBackward(const at::Tensor& x, const at::Tensor& w, const at::Tensor& rstd,
                           const at::Tensor& dy, const at::Tensor& residual) {
  CheckOneDevice({x, w, rstd, dy});
  if (residual.defined()) CheckOneDevice({x, residual});
  at::Tensor dx = at::empty_like(x);
  Check(
      RmsNormBackward(x.const_data_ptr(), w.const_data_ptr(), rstd.const_data_ptr<float>(),
                      dy.const_data_ptr(), residual.defined() ? residual.const_data_ptr() : nullptr,
                      TypeOf(x.scalar_type()), x.size(0), x.size(1), dx.mutable_data_ptr(),
                      CurrentStream(x.device())),
      "RmsNormBackward");
  return dx;
}

void AddRmsNormWeightGrad(const at::Tensor& x, const at::Tensor& rstd, const at::Tensor& dy,
                          const at::Tensor& w_grad) {
  CheckOneDevice({x, rstd, dy, w_grad});
  const at::Tensor partial =
      at::empty({CeilDiv(x.size(0), kWeightGradRows), x.size(1)}, x.options().dtype(at::kFloat));
  Check(AddRmsNormWeightGrad(x.const_data_ptr(), rstd.const_data_ptr<float>(), dy.const_data_ptr(),
                             TypeOf(x.scalar_type()), x.size(0), x.size(1),
                             partial.mutable_data_ptr<float>(), w_grad.mutable_data_ptr(),
                             TypeOf(w_grad.scalar_type()), CurrentStream(x.device())),
        "AddRmsNormWeightGrad");
}

void ApplyRope(const at::Tensor& heads, const at::Tensor& cos, const at::Tensor& sin,
               bool backward) {
  CheckOneDevice({heads, cos, sin});
  const RopeHeads views{heads.mutable_data_ptr(), heads.size(0),   heads.size(1),
                        heads.size(2) / 2,        heads.stride(0), heads.stride(1)};
  Check(ApplyRope(views, TypeOf(heads.scalar_type()), cos.const_data_ptr(), sin.const_data_ptr(),
                  backward, CurrentStream(heads.device())),
        "ApplyRope");
}

at::Tensor RotateBack(const at::Tensor& dq, const at::Tensor& dk, const at::Tensor& dv,
                      const at::Tensor& cos, const at::Tensor& sin) {
  CheckOneDevice({dq, dk, dv, cos, sin});
  const QkvGradient gradient{dq.const_data_ptr(), dk.const_data_ptr(), dv.const_data_ptr(),
                             dq.size(0),          dq.size(1),          dk.size(1),
                             dq.size(2) / 2};
  const int64_t heads = dq.size(1) + 2 * dk.size(1);
  at::Tensor dqkv = at::empty({dq.size(0), heads * dq.size(2)}, dq.options());
  Check(RotateBack(gradient, TypeOf(dq.scalar_type()), cos.const_data_ptr(), sin.const_data_ptr(),
                   dqkv.mutable_data_ptr(), CurrentStream(dq.device())),
        "RotateBack");
  return dqkv;
}

at::Tensor SwigluForward(const at::Tensor& gate_up) {
  at::Tensor a = at::empty({gate_up.size(0), gate_up.size(1) / 2}, gate_up.options());
  Check(SwigluForward(gate_up.const_data_ptr(), TypeOf(gate_up.scalar_type()), a.size(0), a.size(1),
                      a.mutable_data_ptr(), CurrentStream(a.device())),
        "SwigluForward");
  return a;
}

at::Tensor SwigluBackward(const at::Tensor& gate_up, const at::Tensor& da) {
  CheckOneDevice({gate_up, da});
  at::Tensor d_gate_up = at::empty_like(gate_up);
  Check(SwigluBackward(gate_up.const_data_ptr(), da.const_data_ptr(), TypeOf(da.scalar_type()),
                       da.size(0), da.size(1), d_gate_up.mutable_data_ptr(),
                       CurrentStream(da.device())),
        "SwigluBackward");
  return d_gate_up;
}

at::Tensor Dropped(const at::Tensor& x, const DropoutMask& mask) {
  at::Tensor y = at::empty_like(x);
  Check(Dropped(x.const_data_ptr(), TypeOf(x.scalar_type()), x.numel(), mask, y.mutable_data_ptr(),
                CurrentStream(x.device())),
        "Dropped");
  return y;
}

void AddDropped(const at::Tensor& sum, const at::Tensor& x, const DropoutMask& mask) {
  CheckOneDevice({sum, x});
  Check(AddDropped(sum.mutable_data_ptr(), x.const_data_ptr(), TypeOf(x.scalar_type()), x.numel(),
                   mask, CurrentStream(x.device())),
        "AddDropped");
}

}  // namespace ftd::engine::cuda

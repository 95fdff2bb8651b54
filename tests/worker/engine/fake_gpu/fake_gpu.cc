#include <ATen/ATen.h>
#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/op_registration/op_registration.h>
#include <ATen/detail/CUDAHooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/Allocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <mutex>
#include <optional>
#include <set>
#include <tuple>
#include <vector>

#include "lib/base/ceil_div.h"
#include "tests/worker/engine/cuda_on_cpu/launches.h"
#include "tests/worker/engine/fake_gpu/fake_gpu.h"

namespace ftd::engine {
namespace {

FakeGpuCounts counts;
int64_t memory_bytes = std::numeric_limits<int64_t>::max();

const c10::Device kGpu(c10::kCUDA, 0);

class Guard final : public c10::impl::DeviceGuardImplInterface {
 public:
  c10::DeviceType type() const override { return c10::kCUDA; }
  c10::Device exchangeDevice(c10::Device /*device*/) const override { return kGpu; }
  c10::Device getDevice() const override { return kGpu; }
  void setDevice(c10::Device /*device*/) const override {}
  void uncheckedSetDevice(c10::Device /*device*/) const noexcept override {}
  c10::Stream getStream(c10::Device device) const override {
    return c10::Stream(c10::Stream::DEFAULT, device);
  }
  c10::Stream getDefaultStream(c10::Device device) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  void* getStreamNativeHandle(const c10::Stream /*stream*/) const override { return nullptr; }
  void record(void** /*event*/, const c10::Stream& /*stream*/, const c10::DeviceIndex /*device*/,
              const c10::EventFlag /*flag*/) const override {}
  void block(void* /*event*/, const c10::Stream& /*stream*/) const override {}
  bool queryEvent(void* /*event*/) const override { return true; }
  c10::DeviceIndex deviceCount() const noexcept override { return 1; }
};

C10_REGISTER_GUARD_IMPL(CUDA, Guard)

// Host memory that copies need not wait for. A thread may take it while another computes.
class PinnedAllocator final : public c10::Allocator {
 public:
  c10::DataPtr allocate(size_t bytes) override {
    constexpr size_t kAlignment = 64;
    void* memory = std::aligned_alloc(kAlignment, CeilDiv(bytes, kAlignment) * kAlignment);
    const std::lock_guard lock(mutex_);
    begins_.insert(memory);
    return {memory, memory, Free, c10::kCPU};
  }
  void copy_data(void* to, const void* from, size_t bytes) const override {
    default_copy_data(to, from, bytes);
  }
  static bool Holds(const void* data) {
    const std::lock_guard lock(mutex_);
    return begins_.count(data) > 0;
  }

 private:
  static void Free(void* memory) {
    const std::lock_guard lock(mutex_);
    begins_.erase(memory);
    std::free(memory);
  }

  inline static std::mutex mutex_;
  inline static std::set<const void*> begins_;
};

PinnedAllocator pinned_allocator;

// What autograd and pinned memory ask for.
class CUDAHooks final : public at::CUDAHooksInterface {
 public:
  explicit CUDAHooks(at::CUDAHooksArgs /*unused*/) {}
  void init() const override {}
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasCUDA() const override { return true; }
  bool hasPrimaryContext(c10::DeviceIndex /*device*/) const override { return true; }
  at::Allocator* getPinnedMemoryAllocator() const override { return &pinned_allocator; }
  bool isPinnedPtr(const void* data) const override { return PinnedAllocator::Holds(data); }
  c10::DeviceIndex deviceCount() const override { return 1; }
};

using at::CUDAHooksRegistry;
using at::RegistererCUDAHooksRegistry;
REGISTER_CUDA_HOOKS(CUDAHooks);

// The device's tensor over a host tensor's memory, which lives as long.
at::Tensor OnGpu(const at::Tensor& host) {
  constexpr int64_t kBlock = 512;
  const int64_t bytes = CeilDiv(static_cast<int64_t>(host.nbytes()), kBlock) * kBlock;
  TORCH_CHECK_WITH(OutOfMemoryError, counts.bytes + bytes <= memory_bytes,
                   "CUDA out of memory. Tried to allocate ", bytes, " bytes");
  counts.bytes += bytes;
  counts.peak_bytes = std::max(counts.peak_bytes, counts.bytes);
  return at::for_blob(host.mutable_data_ptr(), host.sizes())
      .strides(host.strides())
      .deleter([host, bytes](void* /*data*/) { counts.bytes -= bytes; })
      .options(host.options().device(kGpu))
      .target_device(kGpu)
      .make_tensor();
}

// The host's tensor over the same memory.
at::Tensor OnHost(const at::Tensor& gpu) {
  return at::from_blob(gpu.mutable_data_ptr(), gpu.sizes(), gpu.strides(),
                       at::TensorOptions(gpu.scalar_type()));
}

// An operator's argument for the CPU. Numbers may come from the host, as CUDA's operators allow.
at::Tensor Argument(const c10::OperatorHandle& op, const at::Tensor& tensor) {
  if (!tensor.defined()) return tensor;
  if (tensor.is_cuda()) return OnHost(tensor);
  TORCH_CHECK(tensor.dim() == 0, op.schema().name(), ": a tensor ", tensor.sizes(),
              " is on the host beside others on the GPU");
  return tensor;
}

void RunOnCpu(const c10::OperatorHandle& op, torch::jit::Stack* stack) {
  ++counts.operators;
  const c10::FunctionSchema& schema = op.schema();
  const size_t count = schema.arguments().size(), first = stack->size() - count;
  const std::vector<c10::IValue> arguments(stack->begin() + static_cast<int64_t>(first),
                                           stack->end());
  for (size_t i = first; i < stack->size(); ++i) {
    c10::IValue& value = (*stack)[i];
    if (value.isTensor()) {
      value = Argument(op, value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> tensors = value.toTensorVector();
      for (at::Tensor& tensor : tensors) tensor = Argument(op, tensor);
      value = tensors;
    } else if (value.isOptionalTensorList()) {
      c10::List<std::optional<at::Tensor>> tensors;
      for (const std::optional<at::Tensor>& tensor : value.toOptionalTensorVector()) {
        tensors.push_back(tensor.has_value() ? std::optional(Argument(op, *tensor)) : std::nullopt);
      }
      value = tensors;
    } else if (value.isDevice()) {
      value = c10::Device(c10::kCPU);
    }
  }
  op.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  const size_t results = schema.returns().size();
  for (size_t r = 0; r < results; ++r) {
    c10::IValue& value = (*stack)[stack->size() - results + r];
    const c10::AliasInfo* alias = schema.returns()[r].alias_info();
    if (alias != nullptr) {
      // What it was written to, as it came.
      for (size_t i = 0; i < count; ++i) {
        const c10::AliasInfo* other = schema.arguments()[i].alias_info();
        if (other != nullptr && *other == *alias) value = arguments[i];
      }
      TORCH_CHECK(alias->isWrite(), schema.name(),
                  " makes views, which is for a kernel of its own");
    } else if (value.isTensor()) {
      if (value.toTensor().defined()) value = OnGpu(value.toTensor());
    } else if (value.isTensorList()) {
      std::vector<at::Tensor> tensors = value.toTensorVector();
      for (at::Tensor& tensor : tensors) tensor = OnGpu(tensor);
      value = tensors;
    }
  }
}

// Every bit set is NaN in all floating types: what is read before it is written shows.
at::Tensor Filled(const at::Tensor& host) {
  if (host.nbytes() > 0) std::memset(host.mutable_data_ptr(), 0xFF, host.nbytes());
  return OnGpu(host);
}

at::Tensor Empty(at::IntArrayRef size, std::optional<at::ScalarType> dtype,
                 std::optional<at::Layout> /*layout*/, std::optional<at::Device> /*device*/,
                 std::optional<bool> /*pin_memory*/, std::optional<at::MemoryFormat> format) {
  return Filled(at::empty(size, at::TensorOptions(dtype.value_or(at::kFloat)), format));
}

at::Tensor EmptyStrided(at::IntArrayRef size, at::IntArrayRef stride,
                        std::optional<at::ScalarType> dtype, std::optional<at::Layout> /*layout*/,
                        std::optional<at::Device> /*device*/, std::optional<bool> /*pin_memory*/) {
  return Filled(at::empty_strided(size, stride, at::TensorOptions(dtype.value_or(at::kFloat))));
}

at::Tensor& Copy(at::Tensor& to, const at::Tensor& from, bool non_blocking) {
  if (to.is_cuda() && from.is_cuda()) {
    ++counts.operators;
  } else if (to.is_cuda()) {
    ++counts.copies_in;
    counts.waits += non_blocking && from.is_pinned() ? 0 : 1;
  } else {
    ++counts.copies_out;
    ++counts.waits;
  }
  (to.is_cuda() ? OnHost(to) : to).copy_(from.is_cuda() ? OnHost(from) : from);
  return to;
}

at::Scalar LocalScalarDense(const at::Tensor& number) {
  ++counts.copies_out;
  ++counts.waits;
  return OnHost(number).item();
}

// CUDA's alone: 16-bit factors, a float32 sum.
at::Tensor& AddmmDtype(const at::Tensor& self, const at::Tensor& a, const at::Tensor& b,
                       at::ScalarType type, const at::Scalar& beta, const at::Scalar& alpha,
                       at::Tensor& out) {
  ++counts.operators;
  TORCH_CHECK(type == at::kFloat && out.scalar_type() == at::kFloat && self.is_same(out));
  TORCH_CHECK(a.is_cuda() && b.is_cuda() && a.scalar_type() == b.scalar_type() &&
              (a.scalar_type() == at::kBFloat16 || a.scalar_type() == at::kHalf));
  OnHost(out).addmm_(OnHost(a).to(at::kFloat), OnHost(b).to(at::kFloat), beta, alpha);
  return out;
}

at::Tensor MmDtype(const at::Tensor& a, const at::Tensor& b, at::ScalarType type) {
  ++counts.operators;
  TORCH_CHECK(type == at::kFloat && a.is_cuda() && b.is_cuda());
  TORCH_CHECK(a.scalar_type() == b.scalar_type() && a.scalar_type() != at::kFloat);
  return OnGpu(at::mm(OnHost(a).to(at::kFloat), OnHost(b).to(at::kFloat)));
}

// Documents' borders, checked as the kernel would.
std::vector<int64_t> Borders(const at::Tensor& cu_seqlens, int64_t longest, int64_t tokens) {
  TORCH_CHECK(cu_seqlens.is_cuda() && cu_seqlens.scalar_type() == at::kInt);
  const at::Tensor host = OnHost(cu_seqlens).to(at::kLong);
  std::vector<int64_t> borders(host.const_data_ptr<int64_t>(),
                               host.const_data_ptr<int64_t>() + host.numel());
  TORCH_CHECK(borders.front() == 0 && borders.back() == tokens);
  int64_t most = 0;
  for (size_t d = 1; d < borders.size(); ++d) most = std::max(most, borders[d] - borders[d - 1]);
  TORCH_CHECK(most == longest, "the longest document has ", most, " tokens, not ", longest);
  return borders;
}

// [T, heads, H] on the device as float64 [heads, t, H] of one document on the host, each head
// `repeat` times.
at::Tensor Document(const at::Tensor& flat, int64_t begin, int64_t end, int64_t repeat = 1) {
  TORCH_CHECK(flat.is_cuda() && flat.stride(2) == 1 && flat.size(2) % 8 == 0);
  return OnHost(flat)
      .narrow(0, begin, end - begin)
      .transpose(0, 1)
      .to(at::kDouble)
      .repeat_interleave(repeat, 0);
}

// log2-free attention weights' logits of a document, causal, [heads, t, t].
at::Tensor Scores(const at::Tensor& q, const at::Tensor& k, double scale) {
  const at::Tensor later = at::ones({q.size(1), q.size(1)}, at::kBool).triu(1);
  return at::matmul(q, k.transpose(1, 2)).mul_(scale).masked_fill_(later, -INFINITY);
}

std::tuple<at::Tensor, at::Tensor, at::Tensor, at::Tensor, at::Tensor> FlashForward(
    const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const std::optional<at::Tensor>& cu_seqlens_q, const std::optional<at::Tensor>& cu_seqlens_k,
    int64_t longest_q, int64_t longest_k, double dropout, bool causal, bool /*debug_mask*/,
    std::optional<double> scale, std::optional<int64_t> /*left*/, std::optional<int64_t> /*right*/,
    const std::optional<at::Tensor>& /*used*/, const std::optional<at::Tensor>& /*slopes*/) {
  ++counts.operators;
  TORCH_CHECK(causal && dropout == 0 && longest_q == longest_k);
  TORCH_CHECK(q.scalar_type() == at::kBFloat16 || q.scalar_type() == at::kHalf);
  TORCH_CHECK(cu_seqlens_k->is_same(*cu_seqlens_q));
  const std::vector<int64_t> borders = Borders(*cu_seqlens_q, longest_q, q.size(0));
  const int64_t repeat = q.size(1) / k.size(1);
  const at::Tensor out = at::empty(q.sizes(), at::TensorOptions(q.scalar_type()));
  const at::Tensor lse = at::empty({q.size(1), q.size(0)}, at::TensorOptions(at::kFloat));
  for (size_t d = 0; d + 1 < borders.size(); ++d) {
    const int64_t begin = borders[d], end = borders[d + 1];
    const at::Tensor scores =
        Scores(Document(q, begin, end), Document(k, begin, end, repeat), *scale);
    lse.narrow(1, begin, end - begin).copy_(scores.logsumexp({2}));
    out.narrow(0, begin, end - begin)
        .copy_(at::matmul(scores.softmax(2), Document(v, begin, end, repeat)).transpose(0, 1));
  }
  const at::Tensor rng = at::full({2}, 5, at::kLong), none = at::empty({0}, at::kLong);
  return {OnGpu(out), OnGpu(lse), OnGpu(rng), OnGpu(none), OnGpu(none.clone())};
}

// From what was saved, as the kernel: Dao et al. 2022, algorithm 4.
std::tuple<at::Tensor, at::Tensor, at::Tensor> FlashBackward(
    const at::Tensor& dout, const at::Tensor& q, const at::Tensor& k, const at::Tensor& v,
    const at::Tensor& out, const at::Tensor& lse, const at::Tensor& cu_seqlens_q,
    const at::Tensor& cu_seqlens_k, int64_t longest_q, int64_t longest_k, double dropout,
    bool causal, const at::Tensor& rng, const at::Tensor& unused, std::optional<double> scale,
    std::optional<int64_t> /*left*/, std::optional<int64_t> /*right*/) {
  ++counts.operators;
  TORCH_CHECK(causal && dropout == 0 && longest_q == longest_k);
  TORCH_CHECK(cu_seqlens_k.is_same(cu_seqlens_q) && rng.is_cuda() && unused.is_cuda());
  const std::vector<int64_t> borders = Borders(cu_seqlens_q, longest_q, q.size(0));
  const int64_t kv_heads = k.size(1), repeat = q.size(1) / kv_heads;
  const at::TensorOptions options(q.scalar_type());
  const at::Tensor dq = at::empty(q.sizes(), options), dk = at::empty(k.sizes(), options),
                   dv = at::empty(v.sizes(), options);
  for (size_t d = 0; d + 1 < borders.size(); ++d) {
    const int64_t begin = borders[d], t = borders[d + 1] - begin;
    const auto part = [&](const at::Tensor& flat, int64_t times = 1) {
      return Document(flat, begin, begin + t, times);
    };
    const at::Tensor queries = part(q), keys = part(k, repeat), values = part(v, repeat),
                     d_out = part(dout);
    const at::Tensor p =
        (Scores(queries, keys, *scale) - OnHost(lse).narrow(1, begin, t).unsqueeze(2)).exp();
    const at::Tensor dp = at::matmul(d_out, values.transpose(1, 2));
    const at::Tensor ds = p * (dp - (d_out * part(out)).sum(2, true)) * *scale;
    // A key's and a value's gradient is the sum of its group's.
    const auto grouped = [&](const at::Tensor& heads) {
      return heads.view({kv_heads, repeat, t, -1}).sum(1).transpose(0, 1);
    };
    dq.narrow(0, begin, t).copy_(at::matmul(ds, keys).transpose(0, 1));
    dk.narrow(0, begin, t).copy_(grouped(at::matmul(ds.transpose(1, 2), queries)));
    dv.narrow(0, begin, t).copy_(grouped(at::matmul(p.transpose(1, 2), d_out)));
  }
  return {OnGpu(dq), OnGpu(dk), OnGpu(dv)};
}

TORCH_LIBRARY_IMPL(_, CUDA, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&RunOnCpu>());
}

TORCH_LIBRARY_IMPL(aten, CUDA, library) {
  library.impl("empty.memory_format", TORCH_FN(Empty));
  library.impl("empty_strided", TORCH_FN(EmptyStrided));
  library.impl("copy_", TORCH_FN(Copy));
  library.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  library.impl("view", TORCH_FN(at::native::view));
  library.impl("view.dtype", TORCH_FN(at::native::view_dtype));
  library.impl("_local_scalar_dense", TORCH_FN(LocalScalarDense));
  library.impl("addmm.dtype_out", TORCH_FN(AddmmDtype));
  library.impl("mm.dtype", TORCH_FN(MmDtype));
  library.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  library.impl("_flash_attention_forward", TORCH_FN(FlashForward));
  library.impl("_flash_attention_backward", TORCH_FN(FlashBackward));
}

}  // namespace

FakeGpuCounts CountsOfFakeGpu() {
  FakeGpuCounts result = counts;
  result.kernels = cuda_on_cpu::Launches() - counts.kernels;
  return result;
}

void SetMemoryOfFakeGpu(int64_t bytes) { memory_bytes = bytes; }

void ResetFakeGpuCounts() {
  const int64_t bytes = counts.bytes;
  counts = {.kernels = cuda_on_cpu::Launches(), .bytes = bytes, .peak_bytes = bytes};
}

}  // namespace ftd::engine

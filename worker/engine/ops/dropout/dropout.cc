#include "worker/engine/ops/dropout/dropout.h"

#include <ATen/Dispatch.h>
#include <ATen/Parallel.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>

#include <algorithm>
#include <cmath>

#include "lib/base/ceil_div.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/device/multiversion.h"
#include "worker/engine/ops/dropout/dropout_cuda.h"

namespace ftd::engine {
namespace {

constexpr int64_t kStretch = 256;  // groups whose factors are made at a time

// Writes the factors [count · kDropoutGroup] of `count` groups from `first`. A loop of its own,
// free of the element's dtype, so that the compiler can vectorise it over the groups.
FTD_MULTIVERSION void MakeFactors(const DropoutMask& mask, int64_t first, int64_t count,
                                  float* factors) {
  for (int64_t i = 0; i < count; ++i) {
    const DropoutFactors group = FactorsOf(mask, first + i);
    for (int k = 0; k < kDropoutGroup; ++k) factors[i * kDropoutGroup + k] = group.x[k];
  }
}

// Calls body(first element, elements, their factors) for `count` elements, on all threads. A
// stretch has 1,024 elements: 4 KiB of factors on the stack, which stay in the L1 cache. Stretches
// start at whole groups, so how threads share them out changes no factor.
template <typename Body>
void ForEachStretch(const DropoutMask& mask, int64_t count, Body body) {
  constexpr int64_t kElements = kStretch * kDropoutGroup;
  at::parallel_for(0, CeilDiv(count, kElements), 8, [&](int64_t begin, int64_t end) {
    float factors[kElements];
    for (int64_t stretch = begin; stretch < end; ++stretch) {
      const int64_t first = stretch * kElements, elements = std::min(kElements, count - first);
      MakeFactors(mask, first / kDropoutGroup, CeilDiv(elements, int64_t{kDropoutGroup}), factors);
      body(first, elements, factors);
    }
  });
}

// Returns the factors of a whole tensor, for devices without a kernel.
at::Tensor FactorsLike(const at::Tensor& x, const DropoutMask& mask) {
  const at::Tensor factors = at::empty(x.sizes(), at::TensorOptions(at::kFloat));
  auto* values = factors.mutable_data_ptr<float>();
  ForEachStretch(mask, x.numel(), [&](int64_t first, int64_t elements, const float* stretch) {
    std::copy_n(stretch, elements, values + first);
  });
  return factors.to(x.device());
}

}  // namespace

DropoutMask Dropout::Mask(size_t part) const {
  constexpr double kNumbers = 4294967296.0;  // 2³²
  // An element is dropped if its 32 random bits are below round(p · 2³²); the cap keeps the
  // threshold within 32 bits.
  return {seed, map, static_cast<uint32_t>(part),
          static_cast<uint32_t>(std::min(std::round(p * kNumbers), kNumbers - 1)),
          static_cast<float>(1 / (1 - p))};
}

at::Tensor Dropped(const at::Tensor& x, const DropoutMask& mask) {
  if (cuda::Serves(x.device())) return cuda::Dropped(x, mask);
  // y = x ∘ f in float32, rounded once to x's dtype, on each of the three ways.
  if (!x.is_cpu()) return x.to(at::kFloat).mul_(FactorsLike(x, mask)).to(x.scalar_type());
  at::Tensor y = at::empty_like(x);
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, x.scalar_type(), "Dropped", [&] {
    const auto* from = x.const_data_ptr<scalar_t>();
    auto* to = y.mutable_data_ptr<scalar_t>();
    ForEachStretch(mask, x.numel(), [&](int64_t first, int64_t elements, const float* factors) {
      for (int64_t i = 0; i < elements; ++i)
        to[first + i] = static_cast<scalar_t>(static_cast<float>(from[first + i]) * factors[i]);
    });
  });
  return y;
}

void AddDropped(const at::Tensor& sum, const at::Tensor& x, const DropoutMask& mask) {
  if (cuda::Serves(x.device())) return cuda::AddDropped(sum, x, mask);
  if (!x.is_cpu()) {
    sum.add_(Dropped(x, mask));
    return;
  }
  AT_DISPATCH_FLOATING_TYPES_AND2(at::kBFloat16, at::kHalf, x.scalar_type(), "AddDropped", [&] {
    const auto* from = x.const_data_ptr<scalar_t>();
    auto* to = sum.mutable_data_ptr<scalar_t>();
    ForEachStretch(mask, x.numel(), [&](int64_t first, int64_t elements, const float* factors) {
      for (int64_t i = 0; i < elements; ++i) {
        // Rounded before and after the addition: autograd would have stored the dropped gradient
        // before adding it to dx.
        const auto dropped =
            static_cast<scalar_t>(static_cast<float>(from[first + i]) * factors[i]);
        to[first + i] =
            static_cast<scalar_t>(static_cast<float>(to[first + i]) + static_cast<float>(dropped));
      }
    });
  });
}

}  // namespace ftd::engine

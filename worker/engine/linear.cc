#include "worker/engine/linear.h"

#include <ATen/CPUGeneratorImpl.h>
#include <ATen/TensorOperators.h>
#include <ATen/ops/bernoulli.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/empty.h>
#include <ATen/ops/empty_like.h>
#include <ATen/ops/mm.h>

#include <utility>

namespace ftd::engine {
namespace {

// The input of adapter `part`: x itself, or x with entries dropped and the rest scaled up. Drawn on
// the CPU so that every device sees the same mask.
at::Tensor Dropped(const at::Tensor& x, const Dropout& dropout, size_t part) {
  if (dropout.p == 0) return x;
  auto generator = at::make_generator<at::CPUGeneratorImpl>(dropout.seed * 8 + part);
  at::Tensor keep =
      at::empty(x.sizes(), at::TensorOptions(at::kFloat)).bernoulli_(1 - dropout.p, generator);
  return x * keep.mul_(1 / (1 - dropout.p)).to(x.options());
}

}  // namespace

at::Tensor LinearForward(const LinearLayer& layer, const at::Tensor& x, const Dropout& dropout,
                         LinearSaved* saved) {
  at::Tensor y = at::mm(x, layer.Weight().t());
  if (!layer.adapted()) return y;
  const int64_t rank = layer.rank;
  at::Tensor t;
  if (dropout.p == 0) {
    t = at::mm(x, layer.lora_a.value.t());
  } else {
    std::vector<at::Tensor> parts;
    for (size_t i = 0; i < layer.adapters.size(); ++i) {
      parts.push_back(
          at::mm(Dropped(x, dropout, i), layer.lora_a.value.narrow(0, i * rank, rank).t()));
    }
    t = at::cat(parts, 1);
  }
  for (size_t i = 0; i < layer.adapters.size(); ++i) {
    const Adapter& adapter = layer.adapters[i];
    y.narrow(1, adapter.first, adapter.count)
        .addmm_(t.narrow(1, i * rank, rank), adapter.b.value.t(), 1.0, layer.scale);
  }
  if (saved != nullptr) saved->t = t;
  return y;
}

at::Tensor LinearBackward(LinearLayer& layer, const at::Tensor& x, const LinearSaved& saved,
                          const Dropout& dropout, const at::Tensor& dy, bool needs_dx) {
  if (layer.weight.trainable()) AccumulateProduct(layer.weight, dy, x);
  at::Tensor dx;
  if (needs_dx) dx = at::mm(dy, layer.Weight());
  if (!layer.adapted()) return dx;

  const int64_t rank = layer.rank;
  at::Tensor dt = at::empty_like(saved.t);  // [T, P·R]
  for (size_t i = 0; i < layer.adapters.size(); ++i) {
    Adapter& adapter = layer.adapters[i];
    const at::Tensor dy_part = dy.narrow(1, adapter.first, adapter.count);
    at::Tensor dt_part = dt.narrow(1, i * rank, rank);
    dt_part.copy_(at::mm(dy_part, adapter.b.value).mul_(layer.scale));
    AccumulateProduct(adapter.b, dy_part, saved.t.narrow(1, i * rank, rank), layer.scale);
  }
  if (dropout.p == 0) {
    AccumulateProduct(layer.lora_a, dt, x);
    if (needs_dx) dx.addmm_(dt, layer.lora_a.value);
    return dx;
  }
  const Onto onto = std::exchange(layer.lora_a.grad_is_stale, false) ? Onto::kNothing : Onto::kSum;
  for (size_t i = 0; i < layer.adapters.size(); ++i) {
    const at::Tensor dt_part = dt.narrow(1, i * rank, rank);
    AddProduct(layer.lora_a.grad.narrow(0, i * rank, rank), onto, dt_part, Dropped(x, dropout, i));
    if (needs_dx) {
      dx.add_(Dropped(at::mm(dt_part, layer.lora_a.value.narrow(0, i * rank, rank)), dropout, i));
    }
  }
  return dx;
}

}  // namespace ftd::engine

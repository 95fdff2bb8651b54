// What each piece of a training step takes on this machine, at the shapes of an 8B Llama:
//
//   ops_bench [--rows N]…          16384 and 900 on a GPU, a tiny model's 64 and 8 on the CPU
//
// Prints one JSON object: the device, and for each piece and number of rows the median time of one
// call in milliseconds with the rate that follows from it. Products and attention count floating-
// point operations, all else the bytes that a single pass has to move. At 900 rows much of that
// stays in a GPU's cache, so the rate may exceed its memory's.

#include <ATen/ATen.h>
#include <ATen/core/grad_mode.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <exception>
#include <string>
#include <string_view>
#include <tuple>
#include <utility>
#include <vector>

#include "bench/gpu/piece_timer.h"
#include "nlohmann/json.hpp"
#include "worker/engine/device/device.h"
#include "worker/engine/device/kernel_call.h"
#include "worker/engine/ops/attention/attention.h"
#include "worker/engine/ops/dropout/dropout.h"
#include "worker/engine/ops/dropout/dropout_cuda.h"
#include "worker/engine/ops/glu/glu.h"
#include "worker/engine/ops/glu/glu_cuda.h"
#include "worker/engine/ops/loss/loss.h"
#include "worker/engine/ops/loss/loss_cuda.h"
#include "worker/engine/ops/nf4/nf4.h"
#include "worker/engine/ops/nf4/nf4_cuda.h"
#include "worker/engine/ops/norm/norm.h"
#include "worker/engine/ops/norm/norm_cuda.h"
#include "worker/engine/ops/rope/rope.h"
#include "worker/engine/ops/rope/rope_cuda.h"
#include "worker/engine/tensors/parameter.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

using Json = nlohmann::json;

// Legend: T rows, D model, N heads, K kv heads, H head dim, F ffn, V vocabulary, R rank.
struct Shape {
  int64_t D, N, K, H, F, V, R, document;
};
constexpr Shape k8B{4096, 32, 8, 128, 14336, 128256, 8, 2048};
constexpr Shape kTiny{64, 4, 2, 16, 128, 512, 8, 32};

double Product(int64_t a, int64_t b, int64_t c) {
  return static_cast<double>(a) * static_cast<double>(b) * static_cast<double>(c);
}

// The layer's four maps forward, y = x Wᵀ, and backward, dx = dy W; then the head on one chunk.
void BenchProducts(PieceTimer& bench, const Shape& s, int64_t T) {
  const int64_t qkv = (s.N + 2 * s.K) * s.H;
  for (const auto& [name, out, in] : {std::tuple{"qkv", qkv, s.D},
                                      {"o", s.D, s.N * s.H},
                                      {"gate_up", 2 * s.F, s.D},
                                      {"down", s.D, s.F}}) {
    const at::Tensor w = bench.Random({out, in}), x = bench.Random({T, in});
    const at::Tensor dy = bench.Random({T, out});
    at::Tensor y = at::empty_like(dy), dx = at::empty_like(x);
    const double flops = 2 * Product(T, out, in);
    bench.Flops(std::string("product ") + name, T, flops, [&] { at::mm_out(y, x, w.t()); });
    bench.Flops(std::string("product ") + name + " backward", T, flops,
                [&] { at::mm_out(dx, dy, w); });
  }
  const int64_t chunk = std::min<int64_t>(T, 1024);
  const at::Tensor head = bench.Random({s.V, s.D}), x = bench.Random({chunk, s.D});
  at::Tensor logits = at::empty({chunk, s.V}, x.options());
  bench.Flops("product head", chunk, 2 * Product(chunk, s.V, s.D),
              [&] { at::mm_out(logits, x, head.t()); });
}

// An adapter's thin products on the query projection. Their bytes are those of the large operands.
void BenchLora(PieceTimer& bench, const Shape& s, int64_t T) {
  const int64_t out = s.N * s.H;
  const double e = static_cast<double>(bench.element_size());
  const at::Tensor x = bench.Random({T, s.D}), a = bench.Random({s.R, s.D});
  const at::Tensor b = bench.Random({out, s.R}), dy = bench.Random({T, out});
  const at::Tensor t = bench.Random({T, s.R});
  at::Tensor y = bench.Random({T, out}), dx = bench.Random({T, s.D});
  const double x_bytes = e * Product(T, s.D, 1), y_bytes = e * Product(T, out, 1);
  bench.Bytes("lora t = x Aᵀ", T, x_bytes, [&] { at::mm(x, a.t()); });
  bench.Bytes("lora y += t Bᵀ", T, 2 * y_bytes, [&] { y.addmm_(t, b.t()); });
  bench.Bytes("lora dt = dy B", T, y_bytes, [&] { at::mm(dy, b); });
  // Gradients are float32 sums.
  const at::TensorOptions sums = x.options().dtype(at::kFloat);
  const at::Tensor db = at::zeros({out, s.R}, sums), da = at::zeros({s.R, s.D}, sums);
  bench.Bytes("lora dB += dyᵀ t", T, y_bytes, [&] { AddProduct(db, Onto::kSum, dy, t); });
  bench.Bytes("lora dA += dtᵀ x", T, x_bytes, [&] { AddProduct(da, Onto::kSum, t, x); });
  bench.Bytes("lora dx += dt A", T, 2 * x_bytes, [&] { dx.addmm_(t, a); });
}

// The engine's own kernels on a GPU, its one-pass loops on the CPU; and ATen's addition beside
// them.
void BenchElementWise(PieceTimer& bench, const Shape& s, int64_t T) {
  const double e = static_cast<double>(bench.element_size());
  const double row_bytes = e * Product(T, s.D, 1), ffn_bytes = e * Product(T, s.F, 1);
  const at::Tensor x = bench.Random({T, s.D}), w = bench.Random({s.D});
  at::Tensor sum = bench.Random({T, s.D});
  bench.Bytes("add_", T, 3 * row_bytes, [&] { sum.add_(x); });

  NormSaved saved;
  bench.Bytes("norm forward", T, 2 * row_bytes, [&] { RmsNormForward(x, w, 1e-5, &saved); });
  const at::Tensor residual = bench.Random({T, s.D});
  bench.Bytes("norm backward + residual", T, 4 * row_bytes,
              [&] { RmsNormBackward(x, w, saved, sum, residual, {}); });
  const at::Tensor w_grad = at::zeros({s.D}, w.options().dtype(at::kFloat));
  bench.Bytes("norm backward + residual, trained", T, 6 * row_bytes,
              [&] { RmsNormBackward(x, w, saved, sum, residual, w_grad); });

  const DropoutMask mask = Dropout{0.1, 1, 1}.Mask(0);
  bench.Bytes("dropout", T, 2 * row_bytes, [&] { Dropped(x, mask); });
  bench.Bytes("dropout, added", T, 3 * row_bytes, [&] { AddDropped(sum, x, mask); });

  const at::Tensor heads = bench.Random({T, s.N + s.K, s.H});
  const at::Tensor positions = at::arange(T, at::TensorOptions(bench.device()).dtype(at::kLong));
  const at::Tensor frequencies =
      at::rand({s.H / 2}, at::TensorOptions(bench.device()).dtype(at::kFloat));
  const RopeTable table = MakeRopeTable(frequencies, positions, bench.dtype());
  bench.Bytes("rope", T, 2 * e * Product(T, s.N + s.K, s.H),
              [&] { ApplyRope(heads, table, /*backward=*/false); });

  const at::Tensor gate_up = bench.Random({T, 2 * s.F}), da = bench.Random({T, s.F});
  bench.Bytes("swiglu forward", T, 3 * ffn_bytes, [&] { GluForward(gate_up, Activation::kSilu); });
  bench.Bytes("swiglu backward", T, 5 * ffn_bytes,
              [&] { GluBackward(gate_up, da, Activation::kSilu); });
}

void BenchLoss(PieceTimer& bench, const Shape& s, int64_t T) {
  const int64_t chunk = std::min<int64_t>(T, 1024);
  at::Tensor logits = bench.Random({chunk, s.V});
  const at::Tensor targets =
      at::randint(s.V, {chunk}, at::TensorOptions(bench.device()).dtype(at::kLong));
  const double bytes = 2 * static_cast<double>(bench.element_size()) * Product(chunk, s.V, 1);
  bench.Bytes("loss tile", chunk, bytes, [&] {
    if (cuda::Serves(bench.device())) {
      cuda::CrossEntropyInPlace(logits, targets);
    } else {
      at::Tensor copy = logits.to(at::kFloat);
      CrossEntropyByAten(copy, targets);
    }
  });
}

void BenchAttention(PieceTimer& bench, const Shape& s, int64_t T) {
  std::vector<int64_t> offsets = {0};
  while (offsets.back() < T) offsets.push_back(std::min(T, offsets.back() + s.document));
  double flops = 0;  // the causal half of two products a head
  for (size_t d = 0; d + 1 < offsets.size(); ++d) {
    const int64_t t = offsets[d + 1] - offsets[d];
    flops += 2 * Product(t, t, s.N * s.H);
  }
  const Documents documents =
      MakeDocuments(offsets, at::tensor(offsets, at::kLong).to(at::kInt).to(bench.device()));
  const at::Tensor angles = bench.Random({T, 1, s.H / 2}, 1.0);
  const Rotation rotation{{angles.cos(), angles.sin()}, {}};
  const AttentionShape shape{s.N, s.K, s.H, 1 / std::sqrt(static_cast<double>(s.H))};
  const at::Tensor qkv = bench.Random({T, (s.N + 2 * s.K) * s.H}, 1.0);
  const at::Tensor dout = bench.Random({T, s.N * s.H}, 1.0);
  AttentionSaved saved;
  const auto backward = [&] { AttentionBackward(qkv, documents, shape, rotation, saved, dout); };
  bench.Flops("attention forward", T, flops,
              [&] { AttentionForward(qkv, documents, shape, &saved); });
  at::Context& context = at::globalContext();
  context.setDeterministicAlgorithms(true, /*warn_only=*/false);
  bench.Flops("attention backward, deterministic", T, 2.5 * flops, backward);
  context.setDeterministicAlgorithms(false, /*warn_only=*/false);
  bench.Flops("attention backward, any order", T, 2.5 * flops, backward);
  context.setDeterministicAlgorithms(bench.device().is_cuda(), /*warn_only=*/false);
}

// What does not depend on the number of rows.
void BenchWeights(PieceTimer& bench, const Shape& s) {
  const int64_t rows = 2 * s.F, count = rows * s.D;
  const at::Tensor weight = bench.Random({rows, s.D});
  const Nf4Tensor quantized = QuantizeNf4(weight.cpu(), bench.dtype(), bench.device());
  const at::Tensor out = at::empty_like(weight);
  const double e = static_cast<double>(bench.element_size()), n = static_cast<double>(count);
  bench.Bytes("nf4 dequantise", 0, (0.516 + e) * n, [&] { DequantizeNf4(quantized, out); });

  const auto state = [&] { return at::randn({count}, weight.options().dtype(at::kFloat)); };
  std::vector<at::Tensor> masters = {state()}, grads = {state()}, first = {state()};
  std::vector<at::Tensor> second = {state().abs_()};
  const std::vector<at::Tensor> steps = {at::ones({}, masters[0].options())};
  // Gradient read; master and both moments read and written, all float32.
  bench.Bytes("adamw", 0, 28 * n, [&] {
    at::_fused_adamw_(masters, grads, first, second, {}, steps, 1e-4, 0.9, 0.999, 0.0, 1e-8,
                      /*amsgrad=*/false, /*maximize=*/false);
  });
}

Json RunAll(std::vector<int64_t> rows) {
  InitializeProcess();
  const at::NoGradGuard no_grad;
  const c10::Device device = TrainingDevice();
  const Shape& shape = device.is_cuda() ? k8B : kTiny;
  if (rows.empty())
    rows = device.is_cuda() ? std::vector<int64_t>{16384, 900} : std::vector<int64_t>{64, 8};
  at::manual_seed(1);
  PieceTimer bench(device);
  for (const int64_t T : rows) {
    BenchProducts(bench, shape, T);
    BenchLora(bench, shape, T);
    BenchElementWise(bench, shape, T);
    BenchLoss(bench, shape, T);
    BenchAttention(bench, shape, T);
  }
  BenchWeights(bench, shape);
  return {
      {"device", DeviceName()}, {"own_kernels", cuda::Serves(device)}, {"pieces", bench.figures()}};
}

}  // namespace

int OpsBenchMain(int argc, char** argv) {
  std::vector<int64_t> rows;
  for (int i = 1; i < argc; ++i) {
    const int64_t value = i + 1 < argc ? std::atoll(argv[i + 1]) : 0;
    if (std::string_view(argv[i]) != "--rows" || value <= 0) {
      std::fprintf(stderr, "usage: ops_bench [--rows N]...\n");
      return 2;
    }
    rows.push_back(value);
    ++i;
  }
  try {
    std::printf("%s\n", RunAll(std::move(rows)).dump(1).c_str());
    return 0;
  } catch (const std::exception& error) {
    std::fprintf(stderr, "ops_bench: %s\n", error.what());
    return 1;
  }
}

}  // namespace ftd::engine

int main(int argc, char** argv) { return ftd::engine::OpsBenchMain(argc, argv); }

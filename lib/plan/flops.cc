#include "lib/plan/flops.h"

#include "lib/model/architecture.h"
#include "lib/plan/step_shape.h"

namespace ftd {
namespace {

// A row of the data sheets: dense, at the boost clock.
struct Peak {
  std::string_view part;  // of CUDA's name; the first entry that fits counts
  double half, float32;   // TFLOP/s
};

// NVIDIA's data sheets and architecture white papers. GB10's half is a quarter of its dense FP4,
// which is half of the announced 1 PFLOP/s with sparsity.
constexpr Peak kPeaks[] = {
    {"H100 NVL", 835, 60},  {"H100 PCIe", 756, 51},     {"H100", 989, 67},
    {"H200 NVL", 835, 60},  {"H200", 989, 67},          {"GH200", 989, 67},
    {"B200", 2250, 75},     {"GB10", 125, 31},          {"A100", 312, 19.5},
    {"L40S", 362, 91.6},    {"L40", 181, 90.5},         {"L4", 121, 30.3},
    {"A40", 149.7, 37.4},   {"A6000", 154.8, 38.7},     {"A10G", 70, 31.5},
    {"A10", 125, 31.2},     {"RTX 5090", 209.5, 104.8}, {"RTX 4090", 165.2, 82.6},
    {"RTX 3090", 71, 35.6},
};

// Returns twice the pairs of a document of t tokens, half of a token's own included: the area of
// the causal triangle, or of the band of a window w along its edge.
double TwicePairs(double t, double w) { return w == 0 || t <= w ? t * t : 2 * w * t - w * w; }

// Returns the work of the gated delta rule on a token: its query and its key read the states, and
// what it writes is added to them; two products backward for each. What chunks of tokens take
// besides belongs to the algorithm and not to the maths.
double OfStates(const DeltaShape& s) {
  return 18.0 * static_cast<double>(s.value_heads) * static_cast<double>(s.key_dim) *
         static_cast<double>(s.value_dim);
}

// Returns the work of products with so many numbers for a token. Two operations per number in each:
// y = x Wᵀ and dx = dy W always, dW = dyᵀ x where the weight trains.
double OfProducts(int64_t numbers, bool trains) {
  return (trains ? 6.0 : 4.0) * static_cast<double>(numbers);
}

}  // namespace

// Attention's work grows with the pairs of tokens, everything else with the documents' lengths.
double ModelFlops::Of(std::span<const int64_t> offsets, int64_t labels) const {
  double flops =
      per_token * static_cast<double>(offsets.back()) + per_label * static_cast<double>(labels);
  for (const auto& [window, per_one] : per_pair) {
    for (size_t i = 1; i < offsets.size(); ++i) {
      flops += per_one * TwicePairs(static_cast<double>(offsets[i] - offsets[i - 1]),
                                    static_cast<double>(window));
    }
  }
  return flops;
}

ModelFlops FlopsOf(const ModelConfig& config, const TrainSpec& spec) {
  const bool full = spec.mode == Mode::kFull;
  ModelFlops flops;
  flops.per_label = OfProducts(config.vocab_size * config.hidden_size, full);
  VisitParameters(config, [&](const ParameterInfo& info) {
    if (info.is_projection || info.role == ParameterRole::kDeltaConv) {
      for (const TensorInfo& tensor : info.tensors)
        flops.per_token += OfProducts(NumbersOf(tensor), full);
    }
    if (info.is_projection) {
      for (const int64_t numbers : AdapterSizes(info, spec))
        flops.per_token += OfProducts(numbers, true);
    }
    return absl::OkStatus();
  }).IgnoreError();
  for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
    const LayerKind kind = config.KindOf(layer);
    if (kind.delta) {
      flops.per_token += OfStates(config.delta);
      continue;
    }
    // Two products forward and four backward, each of features multiplications and additions a
    // pair.
    flops.per_pair[kind.window] += 6.0 * static_cast<double>(config.num_attention_heads) *
                                   static_cast<double>(config.head_dim);
  }
  return flops;
}

double PeakFlops(std::string_view name, Dtype dtype) {
  // A MIG slice is named after the whole GPU but has only a part of its units.
  if (name.find(" MIG ") != std::string_view::npos) return 0;
  for (const Peak& peak : kPeaks) {
    const size_t at = name.find(peak.part);
    if (at == std::string_view::npos) continue;
    // Only whole words count: "A1000" is not an "A10", nor "GB200" a "B200"; and after a GeForce's
    // name nothing may follow, because an "RTX 4090 Laptop GPU" is slower than the card.
    const std::string_view rest = name.substr(at + peak.part.size());
    const bool geforce = peak.part.starts_with("RTX");
    const bool begins = at == 0 || name[at - 1] == ' ';
    const bool ends = rest.empty() || (!geforce && (rest.front() == ' ' || rest.front() == '-'));
    if (begins && ends) return (dtype == Dtype::kFloat32 ? peak.float32 : peak.half) * 1e12;
  }
  return 0;
}

}  // namespace ftd

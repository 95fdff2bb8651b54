// Whether a merged model is base + adapter, up to the rounding of its weights.
//
// Rounding W' to a dtype changes each number by at most u |W'|, where u is half the dtype's
// epsilon, and by as good as independent amounts. So of a map's output x W'ᵀ, for x of T rows, the
// change has a mean square of at most
//   u² Σ_t Σ_i Σ_j x_tj² W'_ij²,
// by a factor of about 0.4² in fact. A wrong scale, transposed or missing factors change the output
// by the adapter's whole share instead. Each part of each map is compared so, on the inputs that it
// has in base + adapter: errors of layers before it do not hide its own.
//
// The logits of both models are compared as well: their relative distance may be 1e-5 √L for L
// layers, or, where the weights have few bits, 2 u √L, since a layer's share of errors is a few u
// and adds up like a random walk.
#include <ATen/TensorOperators.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <limits>
#include <random>

#include "lib/base/file.h"
#include "lib/model/architecture.h"
#include "worker/engine/device/guarded.h"
#include "worker/engine/error.h"
#include "worker/engine/merge.h"
#include "worker/engine/merge_plan.h"
#include "worker/engine/model/adapter.h"
#include "worker/engine/model/load_model.h"
#include "worker/engine/model/mixer.h"
#include "worker/engine/tensors/tensor_io.h"
#include "worker/engine/training/batches.h"

namespace ftd::engine {
namespace {

constexpr double kSameInFloat32 = 1e-5;
constexpr double kLogitsRounding = 2;

// The largest relative error of rounding, and the numbers below which it is no longer relative.
struct Rounding {
  double unit = 0;
  double smallest = 0;
};

Rounding RoundingOf(TensorDtype dtype) {
  switch (dtype) {
    case TensorDtype::kBF16:
      return {std::ldexp(1.0, -8), std::ldexp(1.0, -126)};
    case TensorDtype::kF16:
      return {std::ldexp(1.0, -11), std::ldexp(1.0, -14)};
    default:
      return {std::ldexp(1.0, -24), std::ldexp(1.0, -126)};
  }
}

[[noreturn]] void Refuse(const std::string& what) {
  throw EngineError(EngineError::Kind::kInternal,
                    "the merged model is not base + adapter: " + what +
                        "; nothing was exported, and this is a fault of ftd's: please report it");
}

std::string Number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.3g", value);
  return text;
}

// Returns rows of token ids from all over the vocabulary, the same ones each time.
FlatBatch RowsOf(int64_t vocab_size) {
  constexpr size_t kRows = 4, kTokens = 32;
  std::mt19937 random(20);  // its numbers are the standard's, unlike a distribution's
  std::vector<TokenizedRow> rows(kRows);
  for (TokenizedRow& row : rows) {
    for (size_t i = 0; i < kTokens; ++i)
      row.input_ids.push_back(static_cast<int32_t>(random() % vocab_size));
  }
  return ToDevice(Pack(rows, at::kCPU), at::kCPU);
}

// Of the tensors that the merge does not touch.
void CompareCopies(const MergePlan& plan, const ModelWeights& merged) {
  for (const PlannedFile& file : plan.files) {
    for (const PlannedTensor& tensor : file.tensors) {
      const TensorView* counts = plan.model.weights.Find(tensor.name);
      if (tensor.changes() || counts->data.data() != tensor.source->data.data()) continue;
      const TensorView* copy = merged.Find(tensor.name);
      if (copy == nullptr || copy->dtype != counts->dtype || copy->data != counts->data)
        Refuse("the tensor " + tensor.name + " is another");
      ReleasePages(copy->data);
      ReleasePages(counts->data);
    }
  }
}

// Compares one layer's maps on its inputs in base + adapter; returns MergeCheck::map_share.
class MapComparison {
 public:
  explicit MapComparison(const ModelWeights& merged) : merged_(merged) {}

  void Compare(const LinearLayer& reference, const LinearLayer& merged, const at::Tensor& x) {
    LinearSaved saved;
    const at::Tensor expected = LinearForward(reference, x, {}, &saved);
    const at::Tensor error = LinearForward(merged, x, {}, &saved).sub_(expected);
    const at::Tensor weights = merged.Weight();
    const at::Tensor x_squares = x.square().sum(0);  // [I]
    for (const NamedRows& part : merged.weight.names) {
      const Rounding rounding = RoundingOf(merged_.Find(part.name)->dtype);
      const double unit = std::max(rounding.unit, kSameInFloat32);
      const at::Tensor w_squares =
          weights.narrow(0, part.first, part.count).abs().clamp_min_(rounding.smallest).square_();
      const double allowed = unit * std::sqrt(w_squares.sum(0).dot(x_squares).item<double>());
      const double found = error.narrow(1, part.first, part.count).norm().item<double>();
      // Written so that what is not a number is refused.
      if (!(found <= allowed)) {
        Refuse(part.name + " changes its output by " + Number(found) + ", and rounding by " +
               Number(allowed) + " at most");
      }
      share_ = std::max(share_, allowed > 0 ? found / allowed : 0);
      unit_ = std::max(unit_, rounding.unit);
    }
  }

  double share() const { return share_; }
  double unit() const { return unit_; }  // of the dtype with the fewest bits

 private:
  const ModelWeights& merged_;
  double share_ = 0, unit_ = 0;
};

// The inputs of a layer's maps, in the order of ForEachLinear.
std::vector<at::Tensor> InputsOf(const DecoderLayer& layer, const BatchContext& context,
                                 DecoderLayerSaved saved) {
  DecoderLayerRecompute(layer, /*index=*/0, context, &saved);
  return {saved.normed1, MixerOutput(layer, context, saved), saved.normed2, saved.product};
}

// A model of which one layer is there at a time, and where its rows have got.
class Walk {
 public:
  Walk(const ModelConfig& config, const ModelWeights& weights, std::optional<Dtype> nf4,
       const FlatBatch& batch)
      : reader_(config, weights, nf4), batch_(batch), model_(reader_.ReadFrame()) {
    model_.embedding = reader_.ReadEmbedding();
    x_ = Embed(model_, batch_);
    model_.embedding = {};
  }

  DecoderLayer& Read(int64_t layer, const std::optional<LoraSpec>& lora) {
    model_.layers.clear();  // first: there is never more than one
    model_.layers.push_back(reader_.ReadLayer(layer));
    if (lora.has_value()) AddAdapters(model_, *lora, /*seed=*/0);
    return model_.layers[0];
  }

  void Pass(Tape* tape) { x_ = ForwardLayers(model_, batch_, x_, {.recomputed_layers = 1}, tape); }

  at::Tensor Logits() {
    model_.layers.clear();
    const Parameter head = reader_.ReadHead();
    at::Tensor logits = at::mm(FinalNorm(model_, x_), head.value.t());
    ShapeLogits(logits, LogitsOf(model_.config));
    return logits;
  }

 private:
  ModelReader reader_;
  const FlatBatch& batch_;
  Model model_;
  at::Tensor x_;  // [T, D]
};

void CompareLayer(Walk& base, Walk& result, int64_t layer, const std::optional<LoraSpec>& lora,
                  MapComparison& maps) {
  DecoderLayer& expected = base.Read(layer, lora);
  DecoderLayer& merged = result.Read(layer, std::nullopt);
  Tape tape;
  base.Pass(&tape);
  result.Pass(nullptr);
  const std::vector<at::Tensor> inputs = InputsOf(expected, tape.context, tape.layers[0]);
  std::vector<const LinearLayer*> theirs;
  ForEachLinear(merged, [&](const LinearLayer& linear) { theirs.push_back(&linear); });
  size_t i = 0;
  ForEachLinear(expected, [&](const LinearLayer& linear) {
    maps.Compare(linear, *theirs[i], inputs[i]);
    ++i;
  });
}

}  // namespace

MergeCheck CheckMerged(const MergeSource& source, const std::filesystem::path& dir,
                       const MergeProgress& progress) {
  return Guarded([&] {
    const MergePlan plan = PlanMerge(source);
    const ModelOnDisk written = ValueOrThrow(OpenModel(dir));
    CompareCopies(plan, written.weights);
    const ModelConfig& config = plan.model.config;
    const FlatBatch batch = RowsOf(config.vocab_size);
    Walk base(config, plan.model.weights, plan.nf4, batch);
    Walk result(written.config, written.weights, std::nullopt, batch);
    MapComparison maps(written.weights);
    for (int64_t layer = 0; layer < config.num_hidden_layers; ++layer) {
      CompareLayer(base, result, layer, plan.lora, maps);
      if (progress) progress(layer + 1, config.num_hidden_layers);
    }
    const at::Tensor expected = base.Logits();
    MergeCheck check{.map_share = maps.share()};
    check.logits_bound = std::max(kSameInFloat32, kLogitsRounding * maps.unit()) *
                         std::sqrt(static_cast<double>(config.num_hidden_layers));
    check.logits_error = (result.Logits() - expected).norm().item<double>() /
                         std::max(expected.norm().item<double>(), 1e-30);
    if (!(check.logits_error <= check.logits_bound)) {
      Refuse("its logits differ by " + Number(check.logits_error) + " of their size, and may by " +
             Number(check.logits_bound));
    }
    return check;
  });
}

}  // namespace ftd::engine

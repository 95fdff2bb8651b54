#include "worker/engine/generate.h"

#include <ATen/ops/mm.h>
#include <ATen/ops/tensor.h>

#include <algorithm>
#include <utility>

#include "worker/engine/device/device.h"
#include "worker/engine/device/guarded.h"
#include "worker/engine/model/inference.h"
#include "worker/engine/ops/linear/row_product.h"
#include "worker/engine/training/batches.h"

namespace ftd::engine {
namespace {

constexpr int64_t kPrefillTokens = 4096;  // of prompts that a GPU takes together
constexpr int64_t kGpuSequences = 256;    // that a GPU continues together

struct Sequence {
  int64_t number = 0;
  SequenceOptions options;
  std::vector<int32_t> tokens;  // the prompt and what was generated
  SequenceCache cache;
  Sampler sampler;

  auto length() const { return static_cast<int64_t>(tokens.size()); }
  int64_t generated() const { return length() - static_cast<int64_t>(options.prompt.size()); }
};

// Returns whether the frequencies of a sequence of that length are other ones than of shorter ones.
bool IsBeyondOriginal(const ModelConfig& config, int64_t length) {
  const auto beyond = [&](const RopeConfig& rope) {
    return rope.type == RopeConfig::Type::kLongrope &&
           static_cast<double>(length) > rope.original_max_position_embeddings;
  };
  return beyond(config.rope) || (config.UsesLocalRope() && beyond(config.local_rope));
}

}  // namespace

struct Generator::Impl {
  Model model;
  c10::Device device;
  std::vector<Sequence> sequences;  // in the order in which they were added
  int64_t next_number = 0;

  using Batch = std::vector<Sequence*>;

  // Returns the batches that go through the model one after another: prompts, then next tokens. A
  // batch has one table of rotations.
  std::vector<Batch> Batches();
  int64_t MostTokens(bool prompts) const;
  // Returns the last tokens' logits [B, V], float32 on the CPU.
  at::Tensor Logits(const Batch& batch);
  FlatBatch Input(const Batch& batch) const;
  // Adds a token to each sequence of a batch.
  void Choose(const Batch& batch, const at::Tensor& logits);
  Finish FinishOf(const Sequence& sequence) const;
};

int64_t Generator::Impl::MostTokens(bool prompts) const {
  if (!device.is_cpu()) return prompts ? kPrefillTokens : kGpuSequences;
  // On the CPU, what goes through RowProduct: short prompts together, a longer one by itself. It is
  // work enough, and a library's product has other last digits with other rows beside it. The delta
  // rule goes through a prompt's chunks by such products.
  return prompts && model.config.delta.value_heads > 0 ? 1 : kRowProductTokens;
}

std::vector<Generator::Impl::Batch> Generator::Impl::Batches() {
  std::vector<Batch> batches;
  for (const bool prompts : {true, false}) {
    for (const bool beyond : {false, true}) {
      int64_t tokens = MostTokens(prompts);  // of the newest batch: none is open at first
      for (Sequence& sequence : sequences) {
        if ((sequence.cache.tokens == 0) != prompts ||
            IsBeyondOriginal(model.config, sequence.length()) != beyond) {
          continue;
        }
        const int64_t own = prompts ? sequence.length() : 1;
        if (tokens + own > MostTokens(prompts)) {
          batches.emplace_back();
          tokens = 0;
        }
        batches.back().push_back(&sequence);
        tokens += own;
      }
    }
  }
  return batches;
}

FlatBatch Generator::Impl::Input(const Batch& batch) const {
  const bool prompts = batch[0]->cache.tokens == 0;
  std::vector<TokenizedRow> rows;
  for (const Sequence* sequence : batch)
    rows.push_back({prompts ? sequence->tokens : std::vector{sequence->tokens.back()}, {}});
  FlatBatch input = ToDevice(Pack(rows, device), device);
  if (prompts) return input;
  std::vector<int64_t> positions;
  for (const Sequence* sequence : batch) positions.push_back(sequence->cache.tokens);
  input.positions = at::tensor(positions, at::TensorOptions(at::kLong)).to(device);
  input.documents.longest = *std::max_element(positions.begin(), positions.end()) + 1;
  return input;
}

at::Tensor Generator::Impl::Logits(const Batch& batch) {
  const FlatBatch input = Input(batch);
  PassOptions options;
  for (Sequence* sequence : batch) {
    sequence->cache.layers.resize(model.layers.size());
    options.caches.push_back(&sequence->cache);
  }
  at::Tensor x = Forward(model, input, options, /*tape=*/nullptr);
  const std::vector<int64_t>& offsets = input.documents.offsets;
  if (x.size(0) > static_cast<int64_t>(batch.size())) {
    std::vector<int64_t> last;
    for (size_t b = 0; b < batch.size(); ++b) last.push_back(offsets[b + 1] - 1);
    x = x.index_select(0, at::tensor(last, at::TensorOptions(at::kLong)).to(device));
  }
  x = FinalNorm(model, x);
  const at::Tensor& head = model.head().value;
  at::Tensor logits = TakenByRowProduct(x) ? RowProduct(x, head) : at::mm(x, head.t());
  ShapeLogits(logits, LogitsOf(model.config));
  return logits.to(at::TensorOptions(at::kCPU).dtype(at::kFloat)).contiguous();
}

void Generator::Impl::Choose(const Batch& batch, const at::Tensor& logits) {
  for (size_t b = 0; b < batch.size(); ++b) {
    float* row = logits.select(0, static_cast<int64_t>(b)).mutable_data_ptr<float>();
    const int32_t token = batch[b]->sampler.Next(row, static_cast<int32_t>(logits.size(1)));
    if (token < 0)
      throw EngineError(EngineError::Kind::kModel, "the model's logits are not finite numbers");
    batch[b]->tokens.push_back(token);
  }
}

Finish Generator::Impl::FinishOf(const Sequence& sequence) const {
  const std::vector<int32_t>& stops = sequence.options.stop_ids;
  if (std::binary_search(stops.begin(), stops.end(), sequence.tokens.back())) return Finish::kStop;
  if (sequence.generated() >= sequence.options.max_new_tokens ||
      sequence.length() >= model.config.max_position_embeddings) {
    return Finish::kLength;
  }
  return Finish::kNone;
}

Generator::Generator(const GeneratorOptions& options) {
  Guarded([&] {
    const c10::Device device = options.on_cpu ? c10::Device(c10::kCPU) : TrainingDevice();
    impl_ = std::make_unique<Impl>(Impl{LoadForInference(options.model_dir, options.adapter_dir,
                                                         options.dtype, options.nf4, device),
                                        device,
                                        {}});
  });
}

Generator::Generator() = default;

std::unique_ptr<Generator> Generator::Of(GeneratorModel model) {
  std::unique_ptr<Generator> generator(new Generator);
  generator->impl_ = std::make_unique<Impl>(Impl{std::move(model.model), model.device, {}});
  return generator;
}

Generator::~Generator() = default;

std::string Generator::device() const { return impl_->device.is_cpu() ? "cpu" : "cuda:0"; }

int64_t Generator::context() const { return impl_->model.config.max_position_embeddings; }

bool Generator::idle() const { return impl_->sequences.empty(); }

int64_t Generator::Add(SequenceOptions options) {
  CheckIds(options.prompt, impl_->model.config.vocab_size);
  const auto tokens = static_cast<int64_t>(options.prompt.size());
  if (tokens == 0 || tokens >= context()) {
    throw EngineError(EngineError::Kind::kModel, "the prompt has " + std::to_string(tokens) +
                                                     " tokens; the model takes 1 to " +
                                                     std::to_string(context() - 1));
  }
  const int64_t number = impl_->next_number++;
  Sampler sampler(options.sampling, options.prompt);
  std::vector<int32_t> prompt = options.prompt;
  impl_->sequences.push_back(
      {number, std::move(options), std::move(prompt), {}, std::move(sampler)});
  return number;
}

void Generator::Remove(int64_t sequence) {
  std::erase_if(impl_->sequences, [&](const Sequence& one) { return one.number == sequence; });
}

std::vector<NextToken> Generator::Step() {
  return Guarded([&] {
    Impl& self = *impl_;
    for (Sequence& sequence : self.sequences) {
      // Keys that were rotated by other frequencies are of no use: as transformers does, the whole
      // text goes through the model again.
      const bool crosses = IsBeyondOriginal(self.model.config, sequence.length()) &&
                           !IsBeyondOriginal(self.model.config, sequence.cache.tokens);
      if (crosses) sequence.cache = {};
    }
    for (const Impl::Batch& batch : self.Batches()) self.Choose(batch, self.Logits(batch));
    std::vector<NextToken> next;
    for (const Sequence& sequence : self.sequences)
      next.push_back({sequence.number, sequence.tokens.back(), self.FinishOf(sequence)});
    for (const NextToken& one : next)
      if (one.finish != Finish::kNone) Remove(one.sequence);
    return next;
  });
}

}  // namespace ftd::engine

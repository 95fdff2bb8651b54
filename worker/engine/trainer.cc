#include <ATen/Parallel.h>
#include <ATen/core/grad_mode.h>
#include <c10/util/Exception.h>

#include <algorithm>
#include <chrono>
#include <numeric>
#include <utility>

#include "artifacts/ceil_div.h"
#include "artifacts/judge.h"
#include "worker/engine/adapter.h"
#include "worker/engine/batches.h"
#include "worker/engine/device.h"
#include "worker/engine/flops.h"
#include "worker/engine/model.h"
#include "worker/engine/optimizer.h"
#include "worker/engine/state.h"
#include "worker/engine/tensor_io.h"
#include "worker/engine/train.h"

namespace ftd::engine {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr double kWarmUpEpochs = 0.05;  // of NVIDIA's scripts

// Runs `body` without autograd and turns torch's exceptions into the engine's.
template <typename Body>
auto Guarded(Body body) {
  at::NoGradGuard no_grad;
  try {
    return body();
  } catch (const c10::OutOfMemoryError& error) {
    throw EngineError(EngineError::Kind::kOutOfMemory, error.what_without_backtrace());
  } catch (const c10::Error& error) {
    throw EngineError(EngineError::Kind::kInternal, error.what_without_backtrace());
  }
}

// Distinct for every micro-batch of a run; the layers' own seeds lie within the gaps.
uint64_t DropoutSeed(int64_t seed, int64_t step, size_t micro_step) {
  uint64_t x = static_cast<uint64_t>(seed) * 0x9E3779B97F4A7C15ULL + static_cast<uint64_t>(step);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL + micro_step;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

bool IsNorm(const Parameter& parameter) { return parameter.value.dim() == 1; }

}  // namespace

struct Trainer::Impl {
  TrainSpec spec;
  std::unique_ptr<RowSource> rows, eval_rows;
  BatchPlan plan;
  c10::Device device;
  Model model;
  std::map<std::string, TensorDtype> source_dtypes;
  std::vector<Parameter*> trainable;
  ModelFlops flops;
  int64_t steps_taken = 0;

  Impl(const TrainSpec& spec_in, const std::filesystem::path& model_dir,
       std::unique_ptr<RowSource> rows_in, std::unique_ptr<RowSource> eval_rows_in,
       const std::function<void(int64_t, int64_t)>& progress)
      : spec(spec_in),
        rows(std::move(rows_in)),
        eval_rows(std::move(eval_rows_in)),
        plan(spec_in, rows->size()),
        device(TrainingDevice()) {
    const ModelConfig config = ValueOrThrow(ReadModelConfig(model_dir));
    ThrowIfError(JudgeMode(model_dir, config, spec.mode));
    const ModelWeights weights = ValueOrThrow(ModelWeights::Open(model_dir));
    for (const auto& [name, view] : weights.tensors()) source_dtypes[name] = view.dtype;
    model = LoadModel(config, weights, spec.dtype, spec.mode == Mode::kQlora, device, progress);
    if (spec.mode == Mode::kFull) {
      const auto dtype = spec.precision == Precision::kHfParity ? model.dtype : at::kFloat;
      model.ForEachParameter(
          [&](Parameter& p) { p.MakeTrainable(/*weight_decay=*/!IsNorm(p), dtype); });
    } else {
      AddAdapters(model, spec.lora, spec.seed);
    }
    trainable = model.TrainableParameters();
    flops = FlopsOf(model);
    KeepBuffers();
  }

  std::filesystem::path StateFile(const std::filesystem::path& dir) const {
    return dir / (spec.mode == Mode::kFull ? "model.safetensors" : "adapter_model.safetensors");
  }

  // Adds one micro-batch's gradients, and to `result` its samples, tokens and work.
  LossSums RunMicroBatch(const std::vector<int64_t>& indices, int64_t num_items,
                         uint64_t dropout_seed, StepResult& result) {
    const auto start = Clock::now();
    const std::vector<TokenizedRow> batch_rows = ReadRows(*rows, indices);
    size_t longest = 0;
    for (const TokenizedRow& row : batch_rows) longest = std::max(longest, row.input_ids.size());
    const FlatBatch batch = MakeFlatBatch(batch_rows, device);
    result.data_wait_seconds += SecondsSince(start);
    result.model_flops += flops.Of(batch);
    result.samples += static_cast<int64_t>(indices.size());
    result.tokens += batch.documents.offsets.back();
    result.padded_tokens += static_cast<int64_t>(longest * indices.size());
    return ForwardBackward(model, batch,
                           {num_items, spec.lora.dropout, dropout_seed,
                            spec.gradient_checkpointing == Checkpointing::kOn});
  }

  std::optional<StepResult> Step(const std::atomic<bool>& stop, const std::function<void()>& beat) {
    const int64_t step = steps_taken + 1;
    const auto micro_batches = plan.MicroBatches(step);
    StepResult result;
    const auto start = Clock::now();
    int64_t num_items = 0;
    for (const auto& indices : micro_batches) num_items += CountLabels(*rows, indices);
    num_items = std::max<int64_t>(num_items, 1);
    result.data_wait_seconds = SecondsSince(start);
    // float16 has no room for a gradient shared out among thousands of labels: there it is that of
    // their sum, and divided in float32 afterwards.
    const int64_t divisor = spec.dtype == Dtype::kFloat16 ? 1 : num_items;
    ForgetGradients(trainable);
    for (size_t i = 0; i < micro_batches.size(); ++i) {
      if (stop) return std::nullopt;
      const LossSums sums =
          RunMicroBatch(micro_batches[i], divisor, DropoutSeed(spec.seed, step, i), result);
      result.loss += sums.nll;
      result.entropy += sums.Mean(sums.entropy);
      result.mean_token_accuracy += sums.Mean(static_cast<double>(sums.correct));
      beat();
    }
    CompleteGradients(trainable);
    if (divisor != num_items) ScaleGradients(trainable, 1.0 / static_cast<double>(num_items));
    result.loss /= static_cast<double>(num_items);
    result.entropy /= static_cast<double>(micro_batches.size());
    result.mean_token_accuracy /= static_cast<double>(micro_batches.size());
    result.grad_norm = GradientNorm(trainable);
    result.learning_rate =
        LearningRate(spec.lr_schedule, spec.learning_rate, step, plan.steps_planned());
    result.epoch = plan.EpochAfter(step);
    ClipGradients(trainable, result.grad_norm, spec.max_grad_norm);
    AdamWStep(trainable, step, result.learning_rate, spec.weight_decay);
    steps_taken = step;
    return result;
  }

  bool PlaybookWarmUp(const std::atomic<bool>& stop, const std::function<void()>& beat) {
    TrainSpec warm_up = spec;
    warm_up.num_epochs = kWarmUpEpochs;
    warm_up.max_steps = 0;
    const BatchPlan training = std::exchange(plan, BatchPlan(warm_up, rows->size()));
    while (steps_taken < plan.steps_planned()) {
      if (!Step(stop, beat)) return false;
    }
    ResetMoments(trainable);
    plan = training;
    steps_taken = 0;
    return true;
  }

  std::optional<EvalResult> Evaluate(const std::atomic<bool>& stop,
                                     const std::function<void(int64_t)>& beat) {
    const int64_t all = eval_rows->size(), size = spec.batch_size;
    EvalResult result;
    for (int64_t begin = 0; begin < all; begin += size) {
      if (stop) return std::nullopt;
      std::vector<int64_t> indices(static_cast<size_t>(std::min(size, all - begin)));
      std::iota(indices.begin(), indices.end(), begin);
      const LossSums sums =
          EvaluateBatch(model, MakeFlatBatch(ReadRows(*eval_rows, indices), device));
      result.loss += sums.Mean(sums.nll) * static_cast<double>(indices.size());
      result.entropy += sums.Mean(sums.entropy);
      result.mean_token_accuracy += sums.Mean(static_cast<double>(sums.correct));
      beat(begin + static_cast<int64_t>(indices.size()));
    }
    const int64_t batches = CeilDiv(all, size);
    result.loss /= static_cast<double>(all);
    result.entropy /= static_cast<double>(batches);
    result.mean_token_accuracy /= static_cast<double>(batches);
    return result;
  }
};

Trainer::Trainer(const TrainSpec& spec, const std::filesystem::path& model_dir,
                 std::unique_ptr<RowSource> rows, std::unique_ptr<RowSource> eval_rows,
                 const std::function<void(int64_t, int64_t)>& progress)
    : impl_(Guarded([&] {
        return std::make_unique<Impl>(spec, model_dir, std::move(rows), std::move(eval_rows),
                                      progress);
      })) {}
Trainer::~Trainer() = default;

int64_t Trainer::steps_planned() const { return impl_->plan.steps_planned(); }
int64_t Trainer::steps_taken() const { return impl_->steps_taken; }
int64_t Trainer::steps_per_epoch() const { return impl_->plan.steps_per_epoch(); }
int64_t Trainer::eval_rows() const {
  return impl_->eval_rows == nullptr ? 0 : impl_->eval_rows->size();
}

int64_t Trainer::trainable_parameters() const {
  int64_t count = 0;
  for (const Parameter* p : impl_->trainable) count += p->master.numel();
  return count;
}

int64_t Trainer::total_parameters() const { return impl_->model.CountParameters(); }

std::optional<StepResult> Trainer::Step(const std::atomic<bool>& stop,
                                        const std::function<void()>& beat) {
  return Guarded([&] { return impl_->Step(stop, beat); });
}

bool Trainer::PlaybookWarmUp(const std::atomic<bool>& stop, const std::function<void()>& beat) {
  return Guarded([&] { return impl_->PlaybookWarmUp(stop, beat); });
}

std::optional<EvalResult> Trainer::Evaluate(const std::atomic<bool>& stop,
                                            const std::function<void(int64_t)>& beat) {
  return Guarded([&] { return impl_->Evaluate(stop, beat); });
}

void Trainer::SaveState(const std::filesystem::path& dir) const {
  Guarded([&] {
    WriteMasters(impl_->trainable, impl_->StateFile(dir));
    WriteMoments(impl_->trainable, dir / "optimizer.safetensors");
  });
}

void Trainer::LoadState(const std::filesystem::path& dir, int64_t steps_taken) {
  Guarded([&] {
    ReadMasters(impl_->trainable, impl_->StateFile(dir));
    ReadMoments(impl_->trainable, dir / "optimizer.safetensors");
    impl_->steps_taken = steps_taken;
  });
}

void Trainer::ExportWeights(const std::filesystem::path& dir) const {
  Guarded([&] {
    if (impl_->spec.mode == Mode::kFull) {
      WriteModelShards(impl_->trainable, impl_->source_dtypes, dir);
    } else {
      WriteMasters(impl_->trainable, dir / "adapter_model.safetensors");
    }
  });
}

}  // namespace ftd::engine

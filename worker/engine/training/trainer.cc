#include <ATen/Parallel.h>

#include <algorithm>
#include <chrono>
#include <string>
#include <utility>

#include "lib/base/host_memory.h"
#include "lib/model/architecture.h"
#include "lib/model/model_on_disk.h"
#include "lib/plan/fit.h"
#include "lib/plan/flops.h"
#include "lib/plan/step_memory.h"
#include "lib/spec/judge.h"
#include "worker/engine/device/device.h"
#include "worker/engine/device/guarded.h"
#include "worker/engine/generate.h"
#include "worker/engine/model/adapter.h"
#include "worker/engine/model/inference.h"
#include "worker/engine/model/load_model.h"
#include "worker/engine/model/model.h"
#include "worker/engine/objectives/sft.h"
#include "worker/engine/tensors/state.h"
#include "worker/engine/tensors/tensor_io.h"
#include "worker/engine/train.h"
#include "worker/engine/training/activation_budget.h"
#include "worker/engine/training/batches.h"
#include "worker/engine/training/measurements.h"
#include "worker/engine/training/optimizer.h"
#include "worker/engine/training/readable.h"

namespace ftd::engine {
namespace {

using Clock = std::chrono::steady_clock;

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

constexpr double kWarmUpEpochs = 0.05;  // of NVIDIA's scripts

// Returns a seed for each micro-batch of a run, by SplitMix64's mixing. A function of its place
// alone, so that a resumed run drops the same elements.
uint64_t DropoutSeed(int64_t seed, int64_t step, size_t micro_step) {
  uint64_t x = static_cast<uint64_t>(seed) * 0x9E3779B97F4A7C15ULL + static_cast<uint64_t>(step);
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9ULL + micro_step;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EBULL;
  return x ^ (x >> 31);
}

}  // namespace

struct Trainer::Impl {
  TrainSpec spec;
  std::unique_ptr<RowSource> rows, eval_rows;
  c10::Device device;
  std::unique_ptr<BatchLoader> loader;
  Model model;
  ModelWeights source;  // full: the files that the model was read from, mapped
  std::vector<Parameter*> trainable;
  ModelFlops flops;
  int64_t steps_taken = 0;
  MemoryChoices memory;
  std::vector<std::string> notes;  // StepResult's, for the next one
  int64_t last_rows = 0;           // of the last micro-batch, or the part of it, that was begun
  StepShape shape;                 // with the last micro-batch, where memory is bounded
  int64_t most_recomputed = 0;     // layers, in a micro-batch so far

  // Returns the tensors that a full result has beside the trained ones: the parts of the model that
  // see images.
  std::vector<std::string> Beside() const {
    std::vector<std::string> names;
    if (!model.config.is_part()) return names;
    const std::string head = TensorNameOf(model.config, ParameterRole::kHead);
    for (const auto& [name, view] : source.tensors()) {
      if (!name.starts_with(model.config.tensor_prefix) && name != head) names.push_back(name);
    }
    return names;
  }

  Impl(const TrainSpec& spec_in, const std::filesystem::path& model_dir,
       std::unique_ptr<RowSource> rows_in, std::unique_ptr<RowSource> eval_rows_in,
       const std::function<void(int64_t, int64_t)>& progress)
      : spec(spec_in),
        rows(std::move(rows_in)),
        eval_rows(std::move(eval_rows_in)),
        device(TrainingDevice()),
        loader(LoaderOf(spec_in)) {
    SetDeterministic(spec.deterministic);
    auto [config, weights] = ValueOrThrow(OpenModel(model_dir));
    ThrowIfError(JudgeMode(model_dir, config, spec.mode));
    model = LoadModel(config, weights, spec.dtype, spec.mode == Mode::kQlora, device, progress);
    if (spec.mode == Mode::kFull) {
      // hf_parity: weights, gradients and moments in the compute dtype, without a master copy.
      const auto dtype = spec.precision == Precision::kHfParity ? model.dtype : at::kFloat;
      model.ForEachParameter([&](Parameter& p) { p.MakeTrainable(dtype); });
      source = std::move(weights);
      for (const std::string& name : Beside()) {
        if (source.Find(name)->dtype != TensorDtype::kOther) continue;
        throw EngineError(EngineError::Kind::kModel,
                          model_dir.string() + ": tensor " + name +
                              " is of a dtype that a full result cannot keep; use --mode lora");
      }
    } else {
      AddAdapters(model, spec.lora, spec.seed);
    }
    trainable = model.TrainableParameters();
    flops = FlopsOf(model.config, spec);
    if (device.is_cuda() && spec.gradient_checkpointing == Checkpointing::kAuto)
      memory.activation_bytes = ActivationBudget(FreeDeviceMemory());
    shape = StepShapeOf(model.config, spec, device.is_cuda());
    // Last, since the model and the optimizer's state stay for good.
    KeepBuffers();
  }

  std::filesystem::path StateFile(const std::filesystem::path& dir) const {
    return dir / (spec.mode == Mode::kFull ? "model.safetensors" : "adapter_model.safetensors");
  }

  std::unique_ptr<BatchLoader> LoaderOf(const TrainSpec& of) const {
    return std::make_unique<BatchLoader>(*rows, Readable(BatchPlan::Make(of, *rows)), device);
  }

  // Takes the next micro-batch of the step; adds to `result` how long it took and what it holds.
  MicroBatch Take(int64_t step, size_t index, StepResult& result) {
    const auto start = Clock::now();
    MicroBatch micro_batch = loader->Take(step, index);
    result.data_wait_seconds += SecondsSince(start);
    result.samples += micro_batch.rows;
    result.tokens += micro_batch.packed.tokens();
    result.padded_tokens += micro_batch.padded_tokens;
    result.epoch = micro_batch.epoch_after;
    return micro_batch;
  }

  // Tries a step until there is enough memory for it, or nothing left to change.
  std::optional<StepResult> Step(const std::atomic<bool>& stop, const std::function<void()>& beat) {
    for (;;) {
      try {
        return Guarded([&] { return TryStep(stop, beat); });
      } catch (const EngineError& error) {
        if (error.kind() != EngineError::Kind::kOutOfMemory || !TakeLessMemory()) throw;
      }
    }
  }

  // A stop is noticed before a micro-batch, when only gradients have changed; the next step
  // overwrites those. Once the last micro-batch is computed, the step is completed. The same goes
  // for memory that runs out.
  std::optional<StepResult> TryStep(const std::atomic<bool>& stop,
                                    const std::function<void()>& beat) {
    const int64_t step = steps_taken + 1;
    StepResult result;
    Measurements measured;
    int64_t num_items = 1;
    ForgetGradients(trainable);
    for (size_t i = 0, count = 1; i < count; ++i) {
      if (stop) return std::nullopt;
      const MicroBatch micro_batch = Take(step, i, result);
      last_rows = micro_batch.rows;
      count = micro_batch.of;
      num_items = std::max<int64_t>(micro_batch.step_labels, 1);
      const FlatBatch batch = ToDevice(micro_batch.packed, device);
      result.model_flops += flops.Of(batch.documents.offsets, batch.targets.numel());
      const PassOptions options{spec.lora.dropout, DropoutSeed(spec.seed, step, i),
                                LayersToRecompute(batch, /*accumulated=*/i > 0)};
      measured.Add(ForwardBackward(batch, options, Divisor(num_items)), batch.targets.numel(),
                   micro_batch.continues);
      beat();
    }
    // Parameters that nothing reached this step have a gradient of zero, as the norm and AdamW
    // expect.
    CompleteGradients(trainable);
    if (Divisor(num_items) != num_items)
      ScaleGradients(trainable, 1.0 / static_cast<double>(num_items));
    measured.grad_norm = GradientNorm(trainable);
    result.learning_rate =
        LearningRate(spec.lr_schedule, spec.learning_rate, step, loader->steps_planned());
    AdamWStep(trainable, step, result.learning_rate, spec.weight_decay,
              ClipGradients(trainable, measured.grad_norm, spec.max_grad_norm));
    // All work of the step is queued: the one wait for the device.
    measured.Read(num_items, result);
    steps_taken = step;
    return result;
  }

  // Computes a micro-batch forward and backward; returns its sums. Nothing in it waits for the
  // device.
  DeviceSums ForwardBackward(const FlatBatch& batch, const PassOptions& options, int64_t divisor) {
    Tape tape;
    at::Tensor x = Forward(model, batch, options, &tape);
    auto [sums, dx] = Sft(model, batch, x, divisor, spec);
    x.reset();  // before the backward pass, which needs the room
    Backward(model, batch, std::move(tape), std::move(dx));
    return sums;
  }

  // Returns the divisor of the loss's gradient. float16 has no room for a gradient shared out among
  // thousands of labels: there it is that of their sum, and is divided in float32 afterwards.
  int64_t Divisor(int64_t num_items) const { return spec.dtype == Dtype::kFloat16 ? 1 : num_items; }

  // Returns how many of the first layers to recompute in the micro-batch: never more than memory
  // asks for, unless the user does.
  int64_t LayersToRecompute(const FlatBatch& batch, bool accumulated) {
    const auto layers = static_cast<int64_t>(model.layers.size());
    int64_t recomputed = spec.gradient_checkpointing == Checkpointing::kOn ? layers : 0;
    if (memory.activation_bytes > 0) {
      SetBatch(ShapeOf(batch), accumulated, shape);
      recomputed = ftd::LayersToRecompute(shape, memory.activation_bytes);
    }
    if (memory.recompute_all) recomputed = layers;
    most_recomputed = std::max(most_recomputed, recomputed);
    return recomputed;
  }

  // Returns the bytes that a micro-batch's tensors may take; 0: not known.
  int64_t RoomForStep(const MemoryLimits& limits) const {
    int64_t room = 0;
    if (device.is_cuda()) {
      const int64_t reserve = DeviceSharesHostMemory() ? limits.host_reserve : 0;
      room = ActivationBudget(FreeDeviceMemory() - reserve);
    } else if (const int64_t available = AvailableHostMemory(); available > 0) {
      // Gradients have their place, but take no memory before they are written to.
      int64_t reserved = limits.host_reserve;
      for (const Parameter* p : trainable) reserved += static_cast<int64_t>(p->grad.nbytes());
      room = HostActivationBudget(available, reserved);
    }
    if (limits.device_bytes == 0) return room;
    const int64_t kept = LeastMemory(model.config, spec, device.is_cuda(), 1).kept();
    const int64_t allowed = std::max<int64_t>(limits.device_bytes - kept, 1);
    return room == 0 ? allowed : std::min(room, allowed);
  }

  StepFit FitIntoMemory(const MemoryLimits& limits) {
    const int64_t room = RoomForStep(limits);
    if (room == 0) return {};
    const StepFit fit = Readable(FitStep(model.config, spec, *rows, device.is_cuda(), room));
    if (spec.gradient_checkpointing == Checkpointing::kAuto) memory.activation_bytes = room;
    loader->SplitInto(memory.parts = fit.parts);
    return fit;
  }

  // Changes what the next try of a step does, after one that ran out of memory. Returns whether
  // anything was left to change.
  bool TakeLessMemory() {
    if (SplitFurther()) return true;
    if (spec.gradient_checkpointing == Checkpointing::kOn ||
        std::exchange(memory.recompute_all, true))
      return false;
    notes.push_back("memory ran out after step " + std::to_string(steps_taken) +
                    " with one row at a time: all layers are recomputed from now on; the batch "
                    "stays the same");
    return true;
  }

  bool SplitFurther() {
    if (device.is_cuda()) FreeDeviceMemory();  // gives back blocks that were cached
    if (last_rows <= 1) return false;
    loader->SplitInto(memory.parts *= 2);
    notes.push_back("memory ran out after step " + std::to_string(steps_taken) +
                    ": micro-batches are computed in " + std::to_string(memory.parts) +
                    " parts from now on; the batch stays the same");
    return true;
  }

  bool PlaybookWarmUp(const std::atomic<bool>& stop, const std::function<void()>& beat) {
    TrainSpec warm_up = spec;
    warm_up.num_epochs = kWarmUpEpochs;
    warm_up.max_steps = 0;
    auto training = std::exchange(loader, LoaderOf(warm_up));
    loader->SplitInto(memory.parts);
    while (steps_taken < loader->steps_planned()) {
      if (!Step(stop, beat)) return false;
    }
    // The warm-up has an AdamW of its own, so only the weights carry over.
    ResetMoments(trainable);
    loader = std::move(training);
    loader->SplitInto(memory.parts);
    steps_taken = 0;
    return true;
  }

  // Returns micro-batches as the training's, one a step, of the rows in their order, unpacked.
  BatchPlan EvalPlan() const {
    TrainSpec once = spec;
    once.packing = once.shuffle = false;
    once.gradient_accumulation_steps = 1;
    once.num_epochs = 1;
    once.max_steps = 0;
    return Readable(BatchPlan::Make(once, *eval_rows));
  }

  std::optional<EvalResult> Evaluate(const std::atomic<bool>& stop,
                                     const std::function<void(int64_t)>& beat) {
    for (;;) {
      try {
        return Guarded([&] { return TryEvaluate(stop, beat); });
      } catch (const EngineError& error) {
        if (error.kind() != EngineError::Kind::kOutOfMemory || !SplitFurther()) throw;
      }
    }
  }

  // Returns the sums of a micro-batch of the evaluation.
  LossSums EvaluateRows(const std::vector<int64_t>& indices) {
    DeviceSums sums;
    int64_t labels = 0;
    for (const std::vector<int64_t>& part : SplitRows(indices, memory.parts)) {
      last_rows = static_cast<int64_t>(part.size());
      const FlatBatch batch = ToDevice(Pack(ReadRows(*eval_rows, part), device), device);
      const DeviceSums of_part =
          SftSums(model, batch, Forward(model, batch, {}, /*tape=*/nullptr), spec);
      sums = sums.defined() ? sums.add(of_part) : of_part;
      labels += batch.targets.numel();
    }
    return OnHost(sums.cpu(), labels);
  }

  std::optional<EvalResult> TryEvaluate(const std::atomic<bool>& stop,
                                        const std::function<void(int64_t)>& beat) {
    BatchPlan plan = EvalPlan();
    const int64_t batches = plan.steps_planned();
    int64_t all = 0;
    EvalResult result;
    for (int64_t i = 1; i <= batches; ++i) {
      if (stop) return std::nullopt;
      const std::vector<int64_t> indices = plan.MicroBatches(i).front();
      const LossSums sums = EvaluateRows(indices);
      // transformers weights each micro-batch's mean loss by its rows; TRL's metrics weigh
      // micro-batches alike.
      result.loss += sums.Mean(sums.loss) * static_cast<double>(indices.size());
      result.entropy += sums.Mean(sums.entropy);
      result.mean_token_accuracy += sums.Mean(static_cast<double>(sums.correct));
      beat(all += static_cast<int64_t>(indices.size()));
    }
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

int64_t Trainer::steps_planned() const { return impl_->loader->steps_planned(); }
int64_t Trainer::steps_taken() const { return impl_->steps_taken; }
int64_t Trainer::eval_rows() const {
  return impl_->eval_rows == nullptr ? 0 : impl_->eval_rows->size();
}

bool Trainer::is_part() const { return impl_->model.config.is_part(); }

int64_t Trainer::trainable_parameters() const {
  int64_t count = 0;
  for (const Parameter* p : impl_->trainable) count += p->master.numel();
  return count;
}

int64_t Trainer::total_parameters() const { return impl_->model.CountParameters(); }

int64_t Trainer::micro_batch_parts() const { return impl_->memory.parts; }

int64_t Trainer::recomputed_layers() const { return impl_->most_recomputed; }

StepFit Trainer::FitIntoMemory(const MemoryLimits& limits) {
  return Guarded([&] { return impl_->FitIntoMemory(limits); });
}

std::optional<StepResult> Trainer::Step(const std::atomic<bool>& stop,
                                        const std::function<void()>& beat) {
  auto result = impl_->Step(stop, beat);
  if (result) result->memory_notes = std::exchange(impl_->notes, {});
  return result;
}

bool Trainer::PlaybookWarmUp(const std::atomic<bool>& stop, const std::function<void()>& beat) {
  return Guarded([&] { return impl_->PlaybookWarmUp(stop, beat); });
}

std::optional<EvalResult> Trainer::Evaluate(const std::atomic<bool>& stop,
                                            const std::function<void(int64_t)>& beat) {
  return impl_->Evaluate(stop, beat);
}

std::unique_ptr<Generator> Trainer::NewGenerator() const {
  return Generator::Of({SharedForInference(impl_->model), impl_->device});
}

void Trainer::SaveState(const std::filesystem::path& dir) const {
  Guarded([&] {
    // `dir` is not a checkpoint until the caller renames it: a crash in here leaves none that is
    // half written.
    WriteMasters(impl_->trainable, impl_->StateFile(dir));
    WriteMoments(impl_->trainable, dir / "optimizer.safetensors");
    if (impl_->memory != MemoryChoices()) WriteMemoryChoices(impl_->memory, dir);
  });
}

void Trainer::LoadState(const std::filesystem::path& dir, int64_t steps_taken) {
  Guarded([&] {
    ReadMasters(impl_->trainable, impl_->StateFile(dir));
    ReadMoments(impl_->trainable, dir / "optimizer.safetensors");
    // As before where that fits, so that a run can also be resumed on a smaller card.
    MemoryChoices stored = ReadMemoryChoices(dir);
    if (const int64_t bytes = impl_->memory.activation_bytes; bytes == 0) {
      stored.activation_bytes = 0;
    } else if (stored.activation_bytes == 0 || stored.activation_bytes > bytes) {
      stored.activation_bytes = bytes;
    }
    impl_->memory = stored;
    impl_->loader->SplitInto(stored.parts);
    impl_->steps_taken = steps_taken;
  });
}

void Trainer::LoadWeights(const std::filesystem::path& file) {
  Guarded([&] { ReadMasters(impl_->trainable, file); });
}

void Trainer::ExportWeights(const std::filesystem::path& dir) const {
  Guarded([&] {
    if (impl_->spec.mode == Mode::kFull) {
      WriteModelShards(impl_->trainable, impl_->source.tensors(), impl_->Beside(), dir);
    } else {
      WriteMasters(impl_->trainable, dir / "adapter_model.safetensors");
    }
  });
}

}  // namespace ftd::engine

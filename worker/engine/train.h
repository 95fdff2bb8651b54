// Training, as the worker sees it: types of the standard library and lib only, no torch. The
// engine's other public headers are logits.h, merge.h and error.h.
//
// Errors: every call throws EngineError. Not thread-safe; one Trainer a process.
#pragma once

#include <atomic>
#include <cstdint>
#include <filesystem>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "lib/data/row_source.h"
#include "lib/model/model_config.h"
#include "lib/plan/step_fit.h"
#include "lib/spec/train_spec.h"
#include "worker/engine/error.h"

namespace ftd::engine {

class Generator;  // generate.h

// The measurements of one optimizer step.
struct StepResult {
  double loss = 0;  // Σ nll / labels of the step, nats
  // As TRL measures them, each micro-batch's mean over its labels, averaged over the micro-batches:
  double entropy = 0;              // of the prediction, nats
  double mean_token_accuracy = 0;  // share of labels that are the likeliest token
  double grad_norm = 0;            // L2, before clipping
  double learning_rate = 0;        // used in this step
  int64_t tokens = 0;              // input tokens without padding
  int64_t padded_tokens = 0;       // had each micro-batch been padded to its longest row
  int64_t samples = 0;             // rows
  double epoch = 0;                // passes over the data at its end; whole where an epoch ends
  double model_flops = 0;          // floating-point operations that the step takes (flops.h)
  double data_wait_seconds = 0;    // until its rows were read
  // What has changed since the step before because memory ran out, for the user; mostly empty.
  std::vector<std::string> memory_notes;
};

// The measurements of one evaluation, as transformers' Trainer and TRL make them.
struct EvalResult {
  double loss = 0;     // mean over the rows of their micro-batch's Σ nll / labels, nats
  double entropy = 0;  // means over the micro-batches, as in StepResult
  double mean_token_accuracy = 0;
};

// Returns "cpu", or "cuda:0" when LibTorch's CUDA libraries load and see one.
std::string DeviceName();
inline bool UsesGpu() { return DeviceName() != "cpu"; }

// Returns the most floating-point operations a second that the device does in that dtype, by
// NVIDIA's data sheets; 0 where they are not known, as on a CPU.
double DevicePeakFlops(Dtype dtype);

// Returns whether the device's memory is the host's, as on a DGX Spark.
bool DeviceSharesHostMemory();

// Returns the CPU threads that the engine computes with; OMP_NUM_THREADS sets it.
int ThreadCount();

// Sets the process up for training: loads CUDA where there is a GPU. Call first.
void InitializeProcess();

// Returns the most bytes that were allocated on the training device at a time; on a CPU, the most
// that the process had of the host's memory beyond what it had when it was initialised. 0: not
// known.
int64_t PeakDeviceMemory();

// The memory that a run may take. 0: not known, or none.
struct MemoryLimits {
  int64_t device_bytes = 0;  // of the device, in all
  int64_t host_reserve = 0;  // of the host's memory, to be left free
};

// Trains one model on one device. The state between two steps is a function of the spec, the rows
// and the number of steps taken alone: a Trainer that loads a state continues bit for bit as the
// one that saved it would have.
class Trainer {
 public:
  // Loads the model and, for adapters, makes or reads them. `rows` must not be empty; each step
  // reads its own. `eval_rows` may be null. `progress(done, total)` reports bytes read.
  Trainer(const TrainSpec& spec, const std::filesystem::path& model_dir,
          std::unique_ptr<RowSource> rows, std::unique_ptr<RowSource> eval_rows,
          const std::function<void(int64_t done, int64_t total)>& progress);
  ~Trainer();

  int64_t steps_planned() const;
  int64_t steps_taken() const;
  int64_t eval_rows() const;
  int64_t trainable_parameters() const;
  int64_t total_parameters() const;
  // Whether the model is the text part of one that sees images too.
  bool is_part() const;
  // Parts that a micro-batch is computed in, since a whole one does not fit into memory.
  int64_t micro_batch_parts() const;
  // Layers that gradient checkpointing recomputed, in the micro-batch that had the most of them so
  // far.
  int64_t recomputed_layers() const;

  // Chooses how the steps are computed in the memory that is free now (FitStep), for which the
  // model and the optimizer's state are there already: micro-batches in parts, layers recomputed. A
  // state that is loaded afterwards brings its own choice of the parts, so that a resumed run
  // repeats it.
  StepFit FitIntoMemory(const MemoryLimits& limits);

  // Takes one optimizer step. When `stop` becomes true meanwhile, the step is abandoned without a
  // trace and the result is empty. `beat` is called after each micro-batch. Where memory runs out,
  // the step begins again with micro-batches in twice as many parts, and at last with all layers
  // recomputed; the next steps keep to that. The batch stays the same, and so does the loss but for
  // the last digits, or for other dropout masks. Requires: steps_taken() < steps_planned().
  std::optional<StepResult> Step(const std::atomic<bool>& stop, const std::function<void()>& beat);

  // The warm-up of NVIDIA's scripts: 0.05 epochs with a schedule and optimizer state of their own,
  // whose weights the first step starts from. False when `stop` became true: then the Trainer is of
  // no more use. Requires: steps_taken() == 0.
  bool PlaybookWarmUp(const std::atomic<bool>& stop, const std::function<void()>& beat);

  // Measures the weights on eval_rows, in order, in micro-batches as the training's but not packed;
  // changes nothing. Empty when `stop` became true. `beat(rows done)` is called after each
  // micro-batch. Requires: eval_rows() > 0.
  std::optional<EvalResult> Evaluate(const std::atomic<bool>& stop,
                                     const std::function<void(int64_t rows)>& beat);

  // Returns a generator of the weights as they are being trained, whose tensors it shares: after a
  // step it continues its sequences with the new ones. It changes nothing that a step or an
  // evaluation depends on. The Trainer must outlive it.
  std::unique_ptr<Generator> NewGenerator() const;

  // Writes weights and optimizer state into an existing directory; LoadState reads them back.
  void SaveState(const std::filesystem::path& dir) const;
  void LoadState(const std::filesystem::path& dir, int64_t steps_taken);

  // Reads the weights alone, out of a file of weights that SaveState wrote. Requires: steps_taken()
  // == 0.
  void LoadWeights(const std::filesystem::path& file);

  // Writes the weights for others: adapter_model.safetensors, or Hugging Face shards with their
  // index in the source's dtype, into an existing directory.
  void ExportWeights(const std::filesystem::path& dir) const;

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

}  // namespace ftd::engine

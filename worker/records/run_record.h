// The records of a finished or checkpointed run, in the ecosystem's formats. All derive from its
// history.
#pragma once

#include <sys/types.h>

#include <filesystem>
#include <optional>
#include <string>

#include "absl/status/status.h"
#include "lib/data/row_counts.h"
#include "lib/spec/train_spec.h"
#include "worker/records/run_history.h"

namespace ftd {

// trainer_state.json in the shape of transformers' TrainerState, with `log_history` by
// logging_window.h.
std::string TrainerStateJson(const TrainSpec& spec, const RunHistory& history,
                             int64_t steps_planned);

// metrics.jsonl: one object a step, with eval_loss, eval_entropy and eval_mean_token_accuracy where
// it was followed by an evaluation.
std::string MetricsJsonl(const RunHistory& history);

// PEFT's adapter_config.json with the long-standing keys. `is_part`: the adapter is of the text
// part of a model with images, whose other parts have modules of the same names.
std::string AdapterConfigJson(const TrainSpec& spec, const std::string& base_model, bool is_part);

// Returns the last part of a path, which may end with a slash.
std::string NameOfPath(const std::string& path);

// Facts of a run beyond its spec.
struct RunFacts {
  std::string job_id, job_name;
  int attempt = 0;
  int rollbacks = 0;  // the learning rate was halved as often
  std::string model_dir;
  std::optional<uid_t> model_reader;  // who named it, and must be able to read what is copied of it
  std::string weights_digest;         // lib/model/weights_digest.h's, of the model before the run
  std::string base_model;  // what an adapter calls its base: the repository, else the directory
  std::string dataset_sha256, device;
  int64_t dataset_rows = 0, eval_rows = 0, skipped_rows = 0;
  RowCounts row_counts;
  int64_t steps = 0, tokens_total = 0, trainable_parameters = 0, total_parameters = 0;
  int64_t recomputed_layers =
      0;  // by gradient checkpointing, at most in a micro-batch of this attempt
  int64_t micro_batch_parts = 1;  // more, where memory is too small for a whole one
  int threads = 0;
};

// ftd_run.json: spec, model, dataset, versions, device; no absolute paths.
std::string RunRecordJson(const TrainSpec& spec, const RunFacts& facts);

}  // namespace ftd

// result/: what the user takes home.
#pragma once

#include "absl/status/status.h"
#include "lib/spec/train_spec.h"
#include "worker/engine/train.h"
#include "worker/records/run_history.h"
#include "worker/records/run_record.h"
#include "worker/run/training_run.h"

namespace ftd {

// Writes `places.result`, complete or not at all: a PEFT adapter or a Hugging Face model with
// its tokenizer, and beside it trainer_state.json, metrics.jsonl, runs/ (TensorBoard) and
// ftd_run.json.
absl::Status WriteResult(const engine::Trainer& trainer, const TrainSpec& spec,
                         const RunFacts& facts, const RunHistory& history, const RunPlaces& places);

}  // namespace ftd

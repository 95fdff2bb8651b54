// README.md of a result: a model card as the Hugging Face hub reads it.
#pragma once

#include <string>

#include "lib/hub/model_license.h"
#include "lib/spec/train_spec.h"
#include "worker/records/run_history.h"
#include "worker/records/run_record.h"

namespace ftd {

// Metadata in YAML, then what was trained, how it came out, and how to load it. It has no path of
// this machine: a base model or dataset that is not from the hub goes by its own name or is left
// out. `license` is the base model's.
std::string ModelCard(const TrainSpec& spec, const RunFacts& facts, const hub::License& license,
                      const RunHistory& history);

}  // namespace ftd

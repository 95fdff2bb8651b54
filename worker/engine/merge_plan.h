// What becomes of each tensor of a model's files when an adapter is merged into it.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "lib/model/model_on_disk.h"
#include "lib/model/safetensors_writer.h"
#include "worker/engine/merge.h"

namespace ftd::engine {

struct PlannedTensor {
  TensorHeader header;  // as it is written
  std::string name;     // as the engine calls it
  const TensorView* source = nullptr;
  bool is_expanded = false;       // from NF4
  const TensorView* a = nullptr;  // [R, I], and
  const TensorView* b = nullptr;  // [O, R]: the adapter's factors; null without
  bool changes() const { return is_expanded || a != nullptr; }
};

struct PlannedFile {
  std::string name;
  std::map<std::string, std::string> metadata;
  std::vector<PlannedTensor> tensors;  // in the source's order
};

struct MergePlan {
  ModelOnDisk model;
  std::optional<SafetensorsFile> adapter;
  std::optional<LoraSpec> lora;
  std::optional<Dtype> nf4;  // projections are in NF4 before the adapter is added
  std::vector<PlannedFile> files;

  MergedSize Size() const;
};

// Opens model and adapter, which are judged, and plans. Throws EngineError kModel.
MergePlan PlanMerge(const MergeSource& source);

}  // namespace ftd::engine

// Parameters to and from safetensors files.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "lib/model/safetensors.h"
#include "worker/engine/tensors/parameter.h"

namespace ftd::engine {

// Writes one file of all masters, float32, by their own names.
void WriteMasters(const std::vector<Parameter*>& parameters, const std::filesystem::path& path);

// Reads it back; also reads adapters and weights that others wrote, in any float dtype. Throws
// EngineError kModel when a tensor is missing or has another shape.
void ReadMasters(const std::vector<Parameter*>& parameters, const std::filesystem::path& path);
void ReadMasters(const std::vector<Parameter*>& parameters, const SafetensorsFile& file,
                 const std::filesystem::path& path_for_messages);

// Write and read AdamW's moments, as "exp_avg.NAME" and "exp_avg_sq.NAME".
void WriteMoments(const std::vector<Parameter*>& parameters, const std::filesystem::path& path);
void ReadMoments(const std::vector<Parameter*>& parameters, const std::filesystem::path& path);

// What a run does to fit into its memory. A resumed run does the same.
struct MemoryChoices {
  // The part of the device's memory that a micro-batch's tensors may take; 0: all that they need.
  int64_t activation_bytes = 0;
  int64_t parts = 1;           // of a micro-batch, computed one after another
  bool recompute_all = false;  // layers, whatever activation_bytes allows
  bool operator==(const MemoryChoices&) const = default;
};

// Write and read them. Without the file, as in states of older versions, they are the default.
void WriteMemoryChoices(const MemoryChoices& choices, const std::filesystem::path& dir);
MemoryChoices ReadMemoryChoices(const std::filesystem::path& dir);

// Writes Hugging Face's layout: model.safetensors, or shards of at most 5 GB with their index; each
// tensor in the dtype that it has in `source`. `beside`: names of tensors of the source that are
// written as they are.
void WriteModelShards(const std::vector<Parameter*>& parameters,
                      const std::map<std::string, TensorView>& source,
                      const std::vector<std::string>& beside, const std::filesystem::path& dir);

}  // namespace ftd::engine

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

// Write and read the part of the device's memory that a micro-batch's tensors may take, so that a
// resumed run recomputes the layers that the first one did. Without the file, as in states of older
// versions, there is no bound.
void WriteMemoryBudget(int64_t bytes, const std::filesystem::path& dir);
int64_t ReadMemoryBudget(const std::filesystem::path& dir);

// Writes Hugging Face's layout: model.safetensors, or shards of at most 5 GB with their index; each
// tensor in the dtype that it has in `source`. `beside`: names of tensors of the source that are
// written as they are.
void WriteModelShards(const std::vector<Parameter*>& parameters,
                      const std::map<std::string, TensorView>& source,
                      const std::vector<std::string>& beside, const std::filesystem::path& dir);

}  // namespace ftd::engine

#include "worker/engine/tensors/state.h"

#include <cstdio>
#include <limits>

#include "lib/base/file.h"
#include "lib/base/json.h"
#include "nlohmann/json.hpp"
#include "worker/engine/error.h"
#include "worker/engine/tensors/tensor_io.h"

namespace ftd::engine {
namespace {

constexpr int64_t kShardBytes = 5'000'000'000;
constexpr char kMemoryBudgetFile[] = "memory_budget.json", kActivationBytes[] = "activation_bytes",
               kParts[] = "micro_batch_parts", kRecomputeAll[] = "recompute_all";

// Returns a tensor per name: views of the stacked parameters, whose rows belong to several names.
// Nothing is copied, so that Fill can write through them.
std::vector<NamedTensor> Collect(const std::vector<Parameter*>& parameters,
                                 const std::string& prefix, at::Tensor Parameter::*member) {
  std::vector<NamedTensor> tensors;
  for (const Parameter* parameter : parameters) {
    for (const NamedRows& part : parameter->names) {
      tensors.push_back(
          {prefix + part.name, (parameter->*member).narrow(0, part.first, part.count)});
    }
  }
  return tensors;
}

// Copies the file's tensors into the parameters; copy_ converts the dtype and moves to the device.
// Tensors of the file that nobody asks for are passed over.
void Fill(const std::vector<Parameter*>& parameters, const std::string& prefix,
          at::Tensor Parameter::*member, const SafetensorsFile& file,
          const std::filesystem::path& path) {
  for (const NamedTensor& target : Collect(parameters, prefix, member)) {
    auto it = file.tensors().find(target.name);
    if (it == file.tensors().end()) {
      throw EngineError(EngineError::Kind::kModel,
                        path.string() + ": tensor " + target.name + " is missing");
    }
    if (target.tensor.sizes() != at::IntArrayRef(it->second.shape)) {
      throw EngineError(EngineError::Kind::kModel,
                        path.string() + ": tensor " + target.name + " has another shape");
    }
    at::Tensor(target.tensor).copy_(ViewAsTensor(it->second));
  }
}

}  // namespace

void WriteMasters(const std::vector<Parameter*>& parameters, const std::filesystem::path& path) {
  SaveTensors(path, Collect(parameters, "", &Parameter::master));
}

void ReadMasters(const std::vector<Parameter*>& parameters, const std::filesystem::path& path) {
  ReadMasters(parameters, ValueOrThrow(SafetensorsFile::Open(path)), path);
}

void ReadMasters(const std::vector<Parameter*>& parameters, const SafetensorsFile& file,
                 const std::filesystem::path& path) {
  Fill(parameters, "", &Parameter::master, file, path);
  for (Parameter* parameter : parameters) {
    // In a 16-bit dtype the forward pass multiplies with a rounded copy.
    if (!parameter->value.is_same(parameter->master)) parameter->value.copy_(parameter->master);
  }
}

void WriteMoments(const std::vector<Parameter*>& parameters, const std::filesystem::path& path) {
  std::vector<NamedTensor> tensors = Collect(parameters, "exp_avg.", &Parameter::exp_avg);
  for (NamedTensor& tensor : Collect(parameters, "exp_avg_sq.", &Parameter::exp_avg_sq))
    tensors.push_back(tensor);
  SaveTensors(path, tensors);
}

void ReadMoments(const std::vector<Parameter*>& parameters, const std::filesystem::path& path) {
  const SafetensorsFile file = ValueOrThrow(SafetensorsFile::Open(path));
  Fill(parameters, "exp_avg.", &Parameter::exp_avg, file, path);
  Fill(parameters, "exp_avg_sq.", &Parameter::exp_avg_sq, file, path);
}

// Bits are the same whichever layers are recomputed; with the budget, a resumed run also takes the
// first one's time and memory.
void WriteMemoryChoices(const MemoryChoices& choices, const std::filesystem::path& dir) {
  const nlohmann::json json = {{kActivationBytes, choices.activation_bytes},
                               {kParts, choices.parts},
                               {kRecomputeAll, choices.recompute_all}};
  ThrowIfError(WriteFileAtomically(dir / kMemoryBudgetFile, json.dump() + "\n"));
}

MemoryChoices ReadMemoryChoices(const std::filesystem::path& dir) {
  const std::filesystem::path path = dir / kMemoryBudgetFile;
  if (!std::filesystem::exists(path)) return {};
  const auto json = ParseJsonObject(ValueOrThrow(ReadFile(path)));
  if (!json.has_value()) throw EngineError(EngineError::Kind::kModel, path.string() + ": no JSON");
  const MemoryChoices choices{.activation_bytes = IntegerOr(*json, kActivationBytes, 0),
                              .parts = IntegerOr(*json, kParts, 1),
                              .recompute_all = json->value(kRecomputeAll, false)};
  if (choices.activation_bytes < 0 || choices.parts < 1)
    throw EngineError(EngineError::Kind::kModel, path.string() + ": numbers out of range");
  return choices;
}

void WriteModelShards(const std::vector<Parameter*>& parameters,
                      const std::map<std::string, TensorView>& source,
                      const std::vector<std::string>& beside, const std::filesystem::path& dir) {
  std::vector<NamedTensor> tensors = Collect(parameters, "", &Parameter::master);
  for (const std::string& name : beside) tensors.push_back({name, ViewAsTensor(source.at(name))});
  std::vector<std::vector<NamedTensor>> shards(1);
  int64_t total_bytes = 0, total_parameters = 0, shard_bytes = 0;
  for (NamedTensor& named : tensors) {
    const TensorDtype dtype = source.at(named.name).dtype;
    // In the source's dtype, the one that is written, and not the masters'.
    const int64_t bytes = named.tensor.numel() * static_cast<int64_t>(TensorDtypeSize(dtype));
    if (shard_bytes > 0 && shard_bytes + bytes > kShardBytes) {
      shards.emplace_back();
      shard_bytes = 0;
    }
    shard_bytes += bytes;
    total_bytes += bytes;
    total_parameters += named.tensor.numel();
    shards.back().push_back(named);
  }
  nlohmann::ordered_json index = {
      {"metadata", {{"total_parameters", total_parameters}, {"total_size", total_bytes}}},
      {"weight_map", nlohmann::ordered_json::object()}};
  for (size_t i = 0; i < shards.size(); ++i) {
    char name[64] = "model.safetensors";
    if (shards.size() > 1) {
      std::snprintf(name, sizeof name, "model-%05zu-of-%05zu.safetensors", i + 1, shards.size());
    }
    for (NamedTensor& named : shards[i]) {
      index["weight_map"][named.name] = name;
      // On the CPU: a GPU full of training state may have no room for a shard.
      named.tensor = named.tensor.to(at::kCPU, ScalarTypeOf(source.at(named.name).dtype));
    }
    SaveTensors(dir / name, shards[i]);
    // Frees the converted copies, so that there are never more than one shard's.
    shards[i].clear();
  }
  // Last, once every file that it names is complete.
  if (shards.size() > 1) {
    ThrowIfError(WriteFileAtomically(dir / "model.safetensors.index.json", index.dump(2) + "\n"));
  }
}

}  // namespace ftd::engine

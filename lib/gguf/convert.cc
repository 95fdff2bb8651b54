#include "lib/gguf/convert.h"

#include <algorithm>
#include <atomic>
#include <cmath>
#include <limits>
#include <set>
#include <thread>
#include <utility>

#include "absl/functional/function_ref.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/gguf/model_metadata.h"
#include "lib/gguf/tensor_plan.h"
#include "lib/gguf/tensor_rows.h"
#include "lib/gguf/tokenizer_metadata.h"
#include "lib/gguf/writer.h"
#include "lib/model/architecture.h"
#include "lib/model/model_on_disk.h"
#include "lib/spec/adapter_config.h"

namespace ftd::gguf {
namespace {

constexpr uint32_t kQuantizationVersion = 2;  // of the blocks' formats

// Encodes rows `first` to `first + count` of a tensor, shared among the processors: the blocks of
// few bits take longer to find than a disk to write. Returns whether all numbers are finite there.
bool EncodeRows(const TensorRows& rows, int64_t first, int64_t count, int64_t columns,
                TensorType type, std::string* bytes) {
  const float largest = type == TensorType::kF16 ? 65504.0F : std::numeric_limits<float>::max();
  const int64_t row_bytes = RowBytes(type, columns);
  bytes->resize(count * row_bytes);
  std::atomic<int64_t> next = 0;
  std::atomic<bool> fits = true;
  const auto work = [&] {
    std::vector<float> numbers(columns);
    for (int64_t i = next++; i < count; i = next++) {
      rows.Read(first + i, numbers.data());
      const auto is_finite = [&](float number) { return std::fabs(number) <= largest; };
      if (!std::all_of(numbers.begin(), numbers.end(), is_finite)) fits = false;
      RowOf(type).encode(numbers.data(), columns, bytes->data() + i * row_bytes);
    }
  };
  std::vector<std::jthread> helpers;
  for (int64_t i = 1; i < std::min<int64_t>(count, std::thread::hardware_concurrency()); ++i)
    helpers.emplace_back(work);
  work();
  helpers.clear();
  return fits;
}

absl::Status WriteTensor(const PlannedTensor& plan, const TensorView* source, TensorType type,
                         Writer* writer) {
  constexpr int64_t kNumbersAtOnce = 1 << 20;
  FTD_ASSIGN_OR_RETURN(const TensorRows rows, TensorRows::Open(plan, source));
  const int64_t step = std::max<int64_t>(1, kNumbersAtOnce / plan.columns);
  std::string bytes;
  for (int64_t row = 0; row < plan.rows; row += step) {
    if (!EncodeRows(rows, row, std::min(step, plan.rows - row), plan.columns, type, &bytes)) {
      return Error(Reason::kModelCorrupt,
                   Concat("the tensor ", plan.source, " has numbers that are not finite in ",
                          RowOf(type).name, type == TensorType::kF16 ? "; choose bf16" : ""));
    }
    FTD_RETURN_IF_ERROR(writer->Write(bytes));
  }
  rows.Release();
  return absl::OkStatus();
}

// Writes the file; `find` gives the tensor of a name, or nullptr.
absl::Status WriteFile(const std::filesystem::path& file, const Metadata& metadata,
                       const std::vector<PlannedTensor>& plans,
                       const std::vector<TensorType>& types,
                       absl::FunctionRef<const TensorView*(const std::string&)> find,
                       Report* report) {
  std::vector<TensorEntry> entries;
  entries.reserve(plans.size());
  for (size_t i = 0; i < plans.size(); ++i)
    entries.push_back({plans[i].name, types[i], plans[i].shape()});
  FTD_ASSIGN_OR_RETURN(Writer writer, Writer::Create(file, metadata, std::move(entries)));
  for (size_t i = 0; i < plans.size(); ++i)
    FTD_RETURN_IF_ERROR(WriteTensor(plans[i], find(plans[i].source), types[i], &writer));
  FTD_RETURN_IF_ERROR(writer.Finish());
  report->bytes = writer.size();
  report->tensors = static_cast<int64_t>(plans.size());
  return absl::OkStatus();
}

// The two factors of a tensor's update, ΔW = B A: what permutes W's rows permutes B's, and what
// permutes its columns A's.
std::vector<PlannedTensor> FactorsOf(const PlannedTensor& tensor, int64_t rank) {
  PlannedTensor a = tensor, b = tensor;
  a.name += ".lora_a";
  a.source = AdapterTensorName(tensor.source, "lora_A");
  a.rows = rank;
  a.row_order.clear();
  b.name += ".lora_b";
  b.source = AdapterTensorName(tensor.source, "lora_B");
  b.columns = rank;
  b.column_order.clear();
  return {std::move(a), std::move(b)};
}

absl::StatusOr<std::vector<PlannedTensor>> PlanAdapter(const std::vector<PlannedTensor>& plans,
                                                       const SafetensorsFile& file) {
  std::vector<PlannedTensor> factors;
  std::set<std::string> known;
  for (const PlannedTensor& plan : plans) {
    if (plan.source.empty() || plan.is_vector) continue;
    const auto a = file.tensors().find(AdapterTensorName(plan.source, "lora_A"));
    if (a == file.tensors().end() || a->second.shape.empty()) continue;
    for (PlannedTensor& factor : FactorsOf(plan, a->second.shape.front())) {
      known.insert(factor.source);
      factors.push_back(std::move(factor));
    }
  }
  for (const auto& [name, view] : file.tensors()) {
    if (!known.contains(name)) {
      return Error(Reason::kAdapterMismatch, Concat("the adapter's tensor ", name,
                                                    " belongs to none of the model's matrices "
                                                    "that llama.cpp adapts"));
    }
  }
  return factors;
}

}  // namespace

absl::StatusOr<Report> ConvertModel(const std::filesystem::path& model_dir,
                                    const std::filesystem::path& file, const FileType& type) {
  FTD_ASSIGN_OR_RETURN(const ModelOnDisk model, OpenModel(model_dir));
  if (model.config.nf4) {
    return Error(Reason::kModelUnsupported,
                 Concat(model_dir.string(),
                        " is quantised to NF4, which llama.cpp does not read; "
                        "make the file from a model in its own precision"));
  }
  FTD_ASSIGN_OR_RETURN(const GgufFamily* family, FindGgufFamily(model.config));
  FTD_ASSIGN_OR_RETURN(const std::vector<PlannedTensor> plans, PlanTensors(*family, model.config));
  Report report;
  Metadata metadata;
  metadata.Add("general.architecture", family->architecture);
  metadata.Add("general.type", "model");
  AddModelKeys(*family, model.config, &metadata, &report.notes);
  metadata.Add("general.file_type", type.id);
  metadata.Add("general.quantization_version", kQuantizationVersion);
  FTD_RETURN_IF_ERROR(AddTokenizer(model_dir, model.config.vocab_size, &metadata, &report.notes));

  std::vector<TensorType> types;
  const MixTraits traits = MixTraitsOf(model.config);
  types.reserve(plans.size());
  for (const PlannedTensor& plan : plans) types.push_back(TypeOf(type, traits, plan));
  const auto find = [&](const std::string& name) { return model.weights.Find(name); };
  FTD_RETURN_IF_ERROR(WriteFile(file, metadata, plans, types, find, &report));
  return report;
}

absl::StatusOr<Report> ConvertAdapter(const std::filesystem::path& model_dir,
                                      const std::filesystem::path& adapter_dir,
                                      const std::filesystem::path& file, const FileType& type) {
  if (RowOf(type.type).block != 1) {
    return FieldError(
        {{"type", Concat("must be f32, f16 or bf16 for an adapter; got ", type.name)}});
  }
  FTD_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(model_dir));
  FTD_ASSIGN_OR_RETURN(const GgufFamily* family, FindGgufFamily(config));
  FTD_ASSIGN_OR_RETURN(const std::vector<PlannedTensor> plans, PlanTensors(*family, config));
  FTD_ASSIGN_OR_RETURN(const LoraSpec lora, ReadAdapterConfig(adapter_dir));
  FTD_ASSIGN_OR_RETURN(const SafetensorsFile tensors,
                       SafetensorsFile::OpenContained(adapter_dir, "adapter_model.safetensors"));
  FTD_ASSIGN_OR_RETURN(const std::vector<PlannedTensor> factors, PlanAdapter(plans, tensors));
  Report report;
  Metadata metadata;
  metadata.Add("general.architecture", family->architecture);
  metadata.Add("general.type", "adapter");
  metadata.Add("general.file_type", type.id);
  metadata.Add("adapter.type", "lora");
  // llama.cpp scales by alpha / rank, rsLoRA too.
  metadata.Add("adapter.lora.alpha", static_cast<float>(lora.Scale() * lora.rank));
  const auto find = [&](const std::string& name) -> const TensorView* {
    const auto found = tensors.tensors().find(name);
    return found != tensors.tensors().end() ? &found->second : nullptr;
  };
  FTD_RETURN_IF_ERROR(WriteFile(file, metadata, factors,
                                std::vector<TensorType>(factors.size(), type.type), find, &report));
  return report;
}

}  // namespace ftd::gguf

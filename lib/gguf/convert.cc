#include "lib/gguf/convert.h"

#include <algorithm>

#include "lib/base/error.h"
#include "lib/gguf/model_metadata.h"
#include "lib/gguf/tensor_plan.h"
#include "lib/gguf/tensor_rows.h"
#include "lib/gguf/tokenizer_metadata.h"
#include "lib/gguf/writer.h"
#include "lib/model/model_on_disk.h"

namespace ftd::gguf {
namespace {

constexpr uint32_t kQuantizationVersion = 2;  // of the blocks' formats

absl::Status WriteTensor(const PlannedTensor& plan, const ModelWeights& weights, TensorType type,
                         Writer* writer) {
  FTD_ASSIGN_OR_RETURN(const TensorRows rows, TensorRows::Open(plan, weights));
  std::vector<float> numbers(plan.columns);
  std::string bytes(RowBytes(type, plan.columns), '\0');
  for (int64_t row = 0; row < plan.rows; ++row) {
    rows.Read(row, numbers.data());
    RowOf(type).encode(numbers.data(), plan.columns, bytes.data());
    FTD_RETURN_IF_ERROR(writer->Write(bytes));
  }
  rows.Release();
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Report> ConvertModel(const std::filesystem::path& model_dir,
                                    const std::filesystem::path& file, const FileType& type) {
  FTD_ASSIGN_OR_RETURN(const ModelOnDisk model, OpenModel(model_dir));
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

  std::vector<TensorEntry> entries;
  const MixTraits traits = MixTraitsOf(model.config);
  for (const PlannedTensor& plan : plans)
    entries.push_back({plan.name, TypeOf(type, traits, plan), plan.shape()});
  FTD_ASSIGN_OR_RETURN(Writer writer, Writer::Create(file, metadata, entries));
  for (size_t i = 0; i < plans.size(); ++i)
    FTD_RETURN_IF_ERROR(WriteTensor(plans[i], model.weights, entries[i].type, &writer));
  FTD_RETURN_IF_ERROR(writer.Finish());
  report.bytes = writer.size();
  report.tensors = static_cast<int64_t>(entries.size());
  return report;
}

}  // namespace ftd::gguf

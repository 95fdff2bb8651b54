#include "worker/run/export.h"

#include <cmath>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/tree_bytes.h"
#include "lib/gguf/convert.h"
#include "lib/model/model_config.h"
#include "lib/spec/adapter_config.h"
#include "lib/spec/judge.h"
#include "worker/engine/error.h"
#include "worker/run/failure.h"
#include "worker/run/model_copy.h"
#include "worker/run/ollama.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using OrderedJson = nlohmann::ordered_json;

const fs::path& OutputOf(const ExportOrder& order) {
  return order.gguf.empty() ? order.directory : order.gguf;
}

absl::Status CheckOrder(const ExportOrder& order) {
  if (order.directory.empty() == order.gguf.empty())
    return FieldError({{"output", "give either a directory or a GGUF file"}});
  if (!order.gguf.empty() && order.type == nullptr)
    return FieldError({{"type", "must be given for a GGUF file"}});
  if (order.adapter_only && (order.adapter_dir.empty() || order.gguf.empty()))
    return FieldError({{"adapter_only", "is for the GGUF file of an adapter"}});
  const fs::path& output = OutputOf(order);
  std::error_code error;
  const fs::file_status status = fs::symlink_status(output, error);
  if (status.type() == fs::file_type::not_found) return absl::OkStatus();
  if (order.gguf.empty() && fs::is_directory(status) && fs::is_empty(output, error) && !error)
    return absl::OkStatus();
  return Error(Reason::kPathInUse,
               absl::StrCat(output.string(), " exists already; name another one"));
}

// A job in mode qlora says so beside its adapter: what it trained on is the base in NF4.
std::optional<Dtype> Nf4Of(const fs::path& adapter_dir) {
  const auto text = ReadContained(adapter_dir, "ftd_run.json");
  const auto record = text.ok() ? ParseJsonObject(*text) : std::nullopt;
  const auto* spec = record.has_value() ? FindField(*record, "spec") : nullptr;
  if (spec == nullptr || spec->value("mode", "") != "QLORA") return std::nullopt;
  const auto resolved = ResolveTrainSpec(spec->dump(), Dtype::kFloat32);
  return resolved.ok() ? resolved->dtype : Dtype::kFloat32;
}

fs::path FolderOf(const fs::path& path) {
  return path.has_parent_path() ? path.parent_path() : fs::path(".");
}

absl::Status CheckSpace(const fs::path& folder, int64_t needed) {
  std::error_code error;
  const fs::space_info space = fs::space(folder, error);
  if (error) return ErrnoError(error.value(), folder.string());
  if (static_cast<int64_t>(space.available) >= needed) return absl::OkStatus();
  return Error(Reason::kDiskFull,
               absl::StrFormat("the export needs %.2f GB in %s, where %.2f GB are free",
                               static_cast<double>(needed) / 1e9, folder.string(),
                               static_cast<double>(space.available) / 1e9));
}

// config.json as it is, unless the model is no longer quantised.
absl::Status WriteConfig(const ExportOrder& order, bool was_nf4, const fs::path& dir) {
  FTD_RETURN_IF_ERROR(CopyModelFile(order.model_dir, "config.json", order.model_reader, dir));
  if (!was_nf4) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadFile(dir / "config.json"));
  OrderedJson config = OrderedJson::parse(text);
  config.erase("quantization_config");
  if (config.contains("text_config")) config["text_config"].erase("quantization_config");
  return WriteFileAtomically(dir / "config.json", config.dump(2) + "\n");
}

// The adapter's own tokenizer and template, if it has some: it was trained with those.
absl::Status WriteModelFiles(const ExportOrder& order, bool was_nf4, const fs::path& dir) {
  FTD_RETURN_IF_ERROR(WriteConfig(order, was_nf4, dir));
  FTD_RETURN_IF_ERROR(
      CopyModelFile(order.model_dir, "generation_config.json", order.model_reader, dir));
  FTD_RETURN_IF_ERROR(CopyTokenizer(order.model_dir, order.model_reader, dir));
  FTD_RETURN_IF_ERROR(CopyChatTemplates(order.model_dir, order.model_reader, dir));
  if (order.adapter_dir.empty()) return absl::OkStatus();
  FTD_RETURN_IF_ERROR(CopyTokenizer(order.adapter_dir, std::nullopt, dir));
  return CopyChatTemplates(order.adapter_dir, std::nullopt, dir);
}

// The model of an order as a merged one, which `dir` is to be.
class Merging {
 public:
  Merging(const ExportOrder& order, bool is_nf4, engine::MergeProgress progress)
      : order_(order),
        is_nf4_(is_nf4),
        progress_(std::move(progress)),
        source_{order.model_dir, order.adapter_dir,
                order.adapter_dir.empty() ? std::nullopt : Nf4Of(order.adapter_dir)} {}

  absl::StatusOr<engine::MergedSize> Size() const {
    try {
      return engine::SizeOfMerged(source_);
    } catch (const engine::EngineError& error) {
      return StatusOf(error);
    }
  }

  absl::Status Write(const fs::path& dir, ExportReport* report) const {
    FTD_RETURN_IF_ERROR(WriteModelFiles(order_, is_nf4_, dir));
    try {
      engine::WriteMerged(source_, dir, [this](int64_t done, int64_t total) {
        progress_(done, 2 * total);
        bytes_ = total;
      });
      FTD_RETURN_IF_ERROR(JudgeModel(dir).status());
      // The second half: as long as the first, whatever it counts in.
      report->check = engine::CheckMerged(source_, dir, [this](int64_t done, int64_t total) {
        progress_(bytes_ + bytes_ / total * done, 2 * bytes_);
      });
    } catch (const engine::EngineError& error) {
      return StatusOf(error);
    }
    return SyncPath(dir);
  }

 private:
  const ExportOrder& order_;
  const bool is_nf4_;
  const engine::MergeProgress progress_;
  const engine::MergeSource source_;
  mutable int64_t bytes_ = 0;
};

int64_t GgufBytes(const gguf::FileType& type, int64_t numbers) {
  const gguf::TensorTypeRow& row = gguf::RowOf(type.type);
  return numbers / row.block * row.block_bytes;
}

absl::Status ExportModel(const ExportOrder& order, const fs::path& scratch, Merging& merging,
                         ExportReport* report) {
  FTD_ASSIGN_OR_RETURN(const engine::MergedSize size, merging.Size());
  FTD_RETURN_IF_ERROR(CheckSpace(FolderOf(order.directory), size.bytes));
  FTD_RETURN_IF_ERROR(merging.Write(scratch, report));
  report->bytes = TreeBytes(scratch);
  return RenameDurably(scratch, order.directory);
}

// `merges`: llama.cpp cannot have the model as it is, so that it is merged first.
absl::Status ExportGguf(const ExportOrder& order, const fs::path& scratch, Merging& merging,
                        bool merges, ExportReport* report) {
  FTD_ASSIGN_OR_RETURN(const engine::MergedSize size, merging.Size());
  FTD_RETURN_IF_ERROR(CheckSpace(FolderOf(order.gguf),
                                 GgufBytes(*order.type, size.numbers) + (merges ? size.bytes : 0)));
  fs::path model = order.model_dir;
  if (merges) {
    model = scratch / "merged";
    std::error_code error;
    fs::create_directory(model, error);
    FTD_RETURN_IF_ERROR(merging.Write(model, report));
  }
  const fs::path file = scratch / "model.gguf";
  FTD_ASSIGN_OR_RETURN(const gguf::Report written, gguf::ConvertModel(model, file, *order.type));
  report->bytes = static_cast<int64_t>(written.bytes);
  report->notes = written.notes;
  FTD_ASSIGN_OR_RETURN(const std::string modelfile,
                       OllamaModelfile(model, order.gguf.filename(), report->notes));
  fs::path modelfile_path = order.gguf;
  FTD_RETURN_IF_ERROR(
      WriteFileAtomically(modelfile_path.replace_extension(".Modelfile"), modelfile, scratch));
  return RenameDurably(file, order.gguf);
}

absl::Status ExportAdapter(const ExportOrder& order, const fs::path& scratch,
                           ExportReport* report) {
  const fs::path file = scratch / "adapter.gguf";
  FTD_ASSIGN_OR_RETURN(const gguf::Report written,
                       gguf::ConvertAdapter(order.model_dir, order.adapter_dir, file, *order.type));
  report->bytes = static_cast<int64_t>(written.bytes);
  report->notes = written.notes;
  return RenameDurably(file, order.gguf);
}

}  // namespace

fs::path UnfinishedExport(const ExportOrder& order) {
  const fs::path& output = OutputOf(order);
  const fs::path named = output.has_filename() ? output : output.parent_path();
  return FolderOf(named) / absl::StrCat(kUnfinishedMark, named.filename().string());
}

absl::StatusOr<ExportReport> Export(const ExportOrder& order,
                                    const engine::MergeProgress& progress) {
  FTD_RETURN_IF_ERROR(CheckOrder(order));
  FTD_ASSIGN_OR_RETURN(const ModelConfig config, JudgeModel(order.model_dir));
  if (!order.adapter_dir.empty()) {
    FTD_ASSIGN_OR_RETURN(const LoraSpec lora, ReadAdapterConfig(order.adapter_dir));
    FTD_RETURN_IF_ERROR(JudgeAdapter(order.adapter_dir, config, lora));
    if (!order.adapter_only)
      FTD_RETURN_IF_ERROR(JudgeBaseWeights(order.adapter_dir, order.model_dir));
  }
  FTD_ASSIGN_OR_RETURN(const ScratchDir scratch, ScratchDir::Create(UnfinishedExport(order)));
  ExportReport report;
  Merging merging(order, config.nf4, progress);
  absl::Status status;
  if (order.adapter_only) {
    status = ExportAdapter(order, scratch.path(), &report);
  } else if (order.gguf.empty()) {
    status = ExportModel(order, scratch.path(), merging, &report);
  } else {
    const bool merges = config.nf4 || !order.adapter_dir.empty();
    status = ExportGguf(order, scratch.path(), merging, merges, &report);
  }
  if (!status.ok()) return status;
  return report;
}

}  // namespace ftd

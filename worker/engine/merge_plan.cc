#include "worker/engine/merge_plan.h"

#include <algorithm>
#include <functional>
#include <numeric>
#include <unordered_map>
#include <utility>

#include "lib/model/architecture.h"
#include "lib/model/nf4_view.h"
#include "lib/spec/adapter_config.h"
#include "lib/spec/judge.h"
#include "worker/engine/error.h"
#include "worker/engine/tensors/tensor_io.h"

namespace ftd::engine {
namespace {

// Where the bytes of a tensor are tells which tensor it is: a file may call it otherwise than the
// engine does, and of a tensor that several files have, one counts.
using Place = const char*;

class Planner {
 public:
  explicit Planner(MergePlan& plan) : plan_(plan) {
    for (const auto& [name, view] : plan.model.weights.tensors())
      names_.emplace(view.data.data(), name);
    ThrowIfError(VisitParameters(plan.model.config, [&](const ParameterInfo& info) {
      for (const TensorInfo& tensor : info.tensors)
        if (info.is_projection) projections_.emplace(tensor.name, tensor.shape);
      return absl::OkStatus();
    }));
  }

  PlannedFile PlanFile(const WeightsFile& file) {
    PlannedFile planned{file.name, file.file.metadata(), {}};
    std::vector<std::pair<std::string, const TensorView*>> tensors;
    for (const auto& [name, view] : file.file.tensors()) tensors.emplace_back(name, &view);
    std::sort(tensors.begin(), tensors.end(), [](const auto& one, const auto& other) {
      const std::string_view a = one.second->data, b = other.second->data;
      return std::pair(a.data(), a.size()) < std::pair(b.data(), b.size());
    });
    for (const auto& [name, view] : tensors) {
      if (!IsNf4Part(NameOf(name, *view))) planned.tensors.push_back(PlanTensor(name, *view));
    }
    return planned;
  }

 private:
  std::string NameOf(const std::string& name_in_file, const TensorView& view) const {
    const auto found = names_.find(view.data.data());
    return found == names_.end() || view.data.empty() ? name_in_file : found->second;
  }

  // What bitsandbytes keeps beside a tensor in NF4 is of no use once that is expanded.
  bool IsNf4Part(const std::string& name) const {
    for (const char* end : {".absmax", ".quant_map", ".nested_absmax", ".nested_quant_map",
                            ".quant_state.bitsandbytes__nf4"}) {
      if (!name.ends_with(end)) continue;
      if (IsNf4(plan_.model.weights, name.substr(0, name.size() - std::string_view(end).size())))
        return true;
    }
    return false;
  }

  PlannedTensor PlanTensor(const std::string& name_in_file, const TensorView& view) const {
    if (view.dtype == TensorDtype::kOther) {
      throw EngineError(EngineError::Kind::kModel,
                        "the tensor " + name_in_file + " has a dtype that cannot be copied");
    }
    const ModelWeights& weights = plan_.model.weights;
    PlannedTensor tensor{{name_in_file, view.dtype, view.shape}, NameOf(name_in_file, view), &view};
    const bool is_projection = projections_.contains(tensor.name);
    if (IsNf4(weights, tensor.name)) {
      const Nf4View nf4 = ValueOrThrow(FindNf4(weights, tensor.name));
      tensor.header.shape = {nf4.rows, nf4.cols};
      // What bitsandbytes left alone tells which dtype the model had.
      tensor.header.dtype =
          weights.Find(TensorNameOf(plan_.model.config, ParameterRole::kEmbedding))->dtype;
      tensor.is_expanded = true;
    } else if (is_projection && plan_.nf4.has_value() && !plan_.model.config.nf4) {
      tensor.is_expanded = true;
    }
    if (is_projection && plan_.adapter.has_value()) {
      tensor.a = FactorOf(tensor.name, "lora_A");
      tensor.b = FactorOf(tensor.name, "lora_B");
    }
    return tensor;
  }

  const TensorView* FactorOf(const std::string& name, std::string_view which) const {
    const auto found = plan_.adapter->tensors().find(AdapterTensorName(name, which));
    return found == plan_.adapter->tensors().end() ? nullptr : &found->second;
  }

  MergePlan& plan_;
  std::unordered_map<Place, std::string> names_;
  std::map<std::string, std::vector<int64_t>> projections_;
};

}  // namespace

MergedSize MergePlan::Size() const {
  MergedSize size;
  for (const PlannedFile& file : files) {
    for (const PlannedTensor& tensor : file.tensors) {
      const auto bytes = static_cast<int64_t>(tensor.header.bytes());
      size.bytes += bytes;
      size.numbers += bytes / static_cast<int64_t>(TensorDtypeSize(tensor.header.dtype));
    }
  }
  return size;
}

MergePlan PlanMerge(const MergeSource& source) {
  MergePlan plan{.model = ValueOrThrow(OpenModel(source.model_dir)), .nf4 = source.nf4};
  if (plan.model.config.nf4 && !plan.nf4.has_value()) plan.nf4 = Dtype::kFloat32;
  if (!source.adapter_dir.empty()) {
    plan.lora = ValueOrThrow(ReadAdapterConfig(source.adapter_dir));
    ThrowIfError(JudgeAdapter(source.adapter_dir, plan.model.config, *plan.lora));
    plan.adapter = ValueOrThrow(
        SafetensorsFile::OpenContained(source.adapter_dir, "adapter_model.safetensors"));
  }
  Planner planner(plan);
  for (const WeightsFile& file : plan.model.weights.files())
    plan.files.push_back(planner.PlanFile(file));
  return plan;
}

}  // namespace ftd::engine

#include "worker/engine/merge.h"

#include <ATen/ops/empty.h>
#include <ATen/ops/isfinite.h>
#include <ATen/ops/mm.h>

#include <algorithm>
#include <string_view>

#include "lib/base/contained_file.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "worker/engine/device/guarded.h"
#include "worker/engine/error.h"
#include "worker/engine/merge_plan.h"
#include "worker/engine/model/weight_reader.h"
#include "worker/engine/tensors/tensor_io.h"

namespace ftd::engine {
namespace {

constexpr char kIndex[] = "model.safetensors.index.json";

// Reads the weights that change in float32, out of NF4 where the plan says so.
WeightFormat FormatOf(const MergePlan& plan) {
  WeightFormat format{.options = at::TensorOptions(at::kFloat),
                      .nf4_already = plan.model.config.nf4,
                      .nf4_rounding = ScalarTypeOf(plan.nf4.value_or(Dtype::kFloat32))};
  if (!plan.nf4.has_value()) return format;
  int64_t largest = 0;
  for (const PlannedFile& file : plan.files) {
    for (const PlannedTensor& tensor : file.tensors) {
      if (!tensor.changes()) continue;
      largest = std::max(largest, tensor.header.shape[0] * tensor.header.shape[1]);
    }
  }
  format.nf4_scratch = at::empty({largest}, format.options);
  return format;
}

// Returns round(W + s · B A), of the dtype in the files.
at::Tensor Merge(const MergePlan& plan, const PlannedTensor& tensor, WeightReader& reader) {
  const LinearLayer layer = reader.ReadLinear(
      {.role = ParameterRole::kQkv, .tensors = {{tensor.name, tensor.header.shape}}});
  at::Tensor sum = layer.Weight();  // this call's own: the tensor that was read, or the scratch
  // In PEFT's order, which gives its very bits.
  if (tensor.a != nullptr) {
    sum.add_(at::mm(ViewAsTensor(*tensor.b).to(at::kFloat), ViewAsTensor(*tensor.a).to(at::kFloat))
                 .mul_(plan.lora->Scale()));
  }
  at::Tensor rounded = sum.to(ScalarTypeOf(tensor.header.dtype));
  if (!at::isfinite(rounded).all().item<bool>()) {
    throw EngineError(EngineError::Kind::kModel,
                      "the tensor " + tensor.name + " has numbers after the merge that " +
                          std::string(TensorDtypeName(tensor.header.dtype)) + " cannot hold");
  }
  return rounded;
}

std::string_view BytesOf(const at::Tensor& tensor) {
  return {static_cast<const char*>(tensor.const_data_ptr()), tensor.nbytes()};
}

// Writes the index of a model that is in several files. The source's own is right unless tensors of
// NF4 have gone.
void WriteIndex(const MergeSource& source, const MergePlan& plan,
                const std::filesystem::path& dir) {
  if (plan.files.size() == 1 && plan.files[0].name == "model.safetensors") return;
  std::string text = ValueOrThrow(ReadContained(source.model_dir, kIndex));
  if (plan.model.config.nf4) {
    nlohmann::ordered_json index = {{"metadata", {{"total_size", plan.Size().bytes}}},
                                    {"weight_map", nlohmann::ordered_json::object()}};
    for (const PlannedFile& file : plan.files) {
      for (const PlannedTensor& tensor : file.tensors)
        index["weight_map"][tensor.header.name] = file.name;
    }
    text = index.dump(2) + "\n";
  }
  ThrowIfError(WriteFileAtomically(dir / kIndex, text));
}

}  // namespace

MergedSize SizeOfMerged(const MergeSource& source) {
  return Guarded([&] { return PlanMerge(source).Size(); });
}

void WriteMerged(const MergeSource& source, const std::filesystem::path& dir,
                 const MergeProgress& progress) {
  Guarded([&] {
    const MergePlan plan = PlanMerge(source);
    const std::function<void(int64_t, int64_t)> not_of_reading;
    WeightReader reader(plan.model.weights, FormatOf(plan), not_of_reading);
    const int64_t total = plan.Size().bytes;
    int64_t done = 0;
    for (const PlannedFile& file : plan.files) {
      std::vector<TensorHeader> headers;
      for (const PlannedTensor& tensor : file.tensors) headers.push_back(tensor.header);
      SafetensorsWriter writer =
          ValueOrThrow(SafetensorsWriter::Create(dir / file.name, headers, file.metadata));
      for (const PlannedTensor& tensor : file.tensors) {
        if (tensor.changes()) {
          ThrowIfError(writer.Write(BytesOf(Merge(plan, tensor, reader))));
        } else {
          ThrowIfError(writer.Write(tensor.source->data));
          ReleasePages(tensor.source->data);
        }
        done += static_cast<int64_t>(tensor.header.bytes());
        if (progress) progress(done, total);
      }
      ThrowIfError(writer.Finish());
    }
    WriteIndex(source, plan, dir);
  });
}

}  // namespace ftd::engine

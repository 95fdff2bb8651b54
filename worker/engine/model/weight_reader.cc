#include "worker/engine/model/weight_reader.h"

#include <ATen/ops/empty.h>

#include "lib/base/file.h"
#include "lib/model/nf4_view.h"
#include "worker/engine/error.h"
#include "worker/engine/tensors/tensor_io.h"

namespace ftd::engine {
namespace {

// Returns a copy of the bytes on the device, flat, of that dtype. As bytes first, since
// bitsandbytes may have stored codes under any dtype; always a copy, since the mapped pages are
// given back.
at::Tensor Flat(const TensorView& view, at::ScalarType type, c10::Device device) {
  const TensorView bytes{TensorDtype::kU8, {static_cast<int64_t>(view.data.size())}, view.data};
  return ViewAsTensor(bytes)
      .to(device, at::kByte, /*non_blocking=*/false, /*copy=*/true)
      .view(type);
}

// Returns the error of a file that has changed since the judge read it.
EngineError OtherShape(const TensorInfo& tensor) {
  return {EngineError::Kind::kModel,
          "tensor " + tensor.name + " has another shape than config.json says"};
}

}  // namespace

WeightReader::WeightReader(const ModelWeights& weights, WeightFormat format,
                           const std::function<void(int64_t, int64_t)>& progress)
    : weights_(weights), format_(std::move(format)), progress_(progress) {
  for (const auto& [name, view] : weights.tensors())
    total_ += static_cast<int64_t>(view.data.size());
}

const TensorView& WeightReader::Find(const TensorInfo& tensor) const {
  const TensorView* view = weights_.Find(tensor.name);
  if (view == nullptr)
    throw EngineError(EngineError::Kind::kModel, "tensor " + tensor.name + " is missing");
  if (view->shape != tensor.shape) throw OtherShape(tensor);
  return *view;
}

// The mapped pages count as this process's memory until they are given back.
void WeightReader::Done(const TensorView& view) {
  ReleasePages(view.data);
  done_ += static_cast<int64_t>(view.data.size());
  if (progress_) progress_(done_, total_);
}

Parameter WeightReader::Read(const ParameterInfo& info) {
  Parameter parameter;
  parameter.decays = info.decays;
  int64_t rows = 0;
  for (const TensorInfo& tensor : info.tensors) {
    parameter.names.push_back({tensor.name, rows, tensor.shape[0]});
    rows += tensor.shape[0];
  }
  std::vector<int64_t> shape = info.tensors[0].shape;
  shape[0] = rows;
  parameter.value = at::empty(shape, format_.options);
  for (size_t i = 0; i < info.tensors.size(); ++i) {
    const TensorView& view = Find(info.tensors[i]);
    const NamedRows& part = parameter.names[i];
    // copy_ converts and moves in one go, straight from the mapped file; its pages are released
    // before the next tensor is touched.
    parameter.value.narrow(0, part.first, part.count).copy_(ViewAsTensor(view));
    Done(view);
  }
  return parameter;
}

LinearLayer WeightReader::ReadLinear(const ParameterInfo& info) {
  LinearLayer layer;
  if (!format_.nf4_scratch.defined()) {
    layer.weight = Read(info);
    return layer;
  }
  // A handle to the one scratch of the model, not a tensor per map.
  layer.nf4.scratch = format_.nf4_scratch;
  int64_t rows = 0;
  for (const TensorInfo& tensor : info.tensors) {
    layer.nf4.parts.push_back(ReadNf4(tensor));
    layer.weight.names.push_back({tensor.name, rows, tensor.shape[0]});
    rows += tensor.shape[0];
  }
  return layer;
}

Nf4Part WeightReader::ReadNf4(const TensorInfo& tensor) {
  const c10::Device device = format_.options.device();
  Nf4Part part;
  if (!IsNf4(weights_, tensor.name)) {
    const TensorView& view = Find(tensor);
    // transformers leaves modules out by name (llm_int8_skip_modules): what it left in such a
    // repository stays as it is. Otherwise everything that is not NF4 yet is quantised here.
    if (format_.nf4_already) {
      part.plain = at::empty(view.shape, format_.options).copy_(ViewAsTensor(view));
    } else {
      part.quantized = QuantizeNf4(ViewAsTensor(view), format_.nf4_rounding, device);
    }
    Done(view);
    return part;
  }
  const Nf4View view = ValueOrThrow(FindNf4(weights_, tensor.name));
  if (std::vector{view.rows, view.cols} != tensor.shape) throw OtherShape(tensor);
  // Taken as bitsandbytes wrote it; nothing is quantised again.
  const bool nested = !view.nested_map.data.empty();
  Nf4Tensor& q = part.quantized;
  q.rows = view.rows;
  q.cols = view.cols;
  q.codes = Flat(view.codes, at::kByte, device);
  q.absmax = Flat(view.absmax, nested ? at::kByte : at::kFloat, device);
  if (nested) {
    q.nested_absmax = Flat(view.nested_absmax, at::kFloat, device);
    q.nested_map = Flat(view.nested_map, at::kFloat, device);
    q.nested_offset = static_cast<float>(view.nested_offset);
  }
  for (const TensorView& part_view : {view.codes, view.absmax, view.nested_absmax, view.nested_map})
    Done(part_view);
  return part;
}

}  // namespace ftd::engine

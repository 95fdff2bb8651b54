// The tensors of a model directory, as parameters and maps of the engine.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "lib/model/architecture.h"
#include "lib/model/safetensors.h"
#include "worker/engine/ops/linear/linear.h"

namespace ftd::engine {

// The form in which the weights are held.
struct WeightFormat {
  at::TensorOptions options;  // the compute dtype and the device
  at::Tensor nf4_scratch;     // defined: projections are held in NF4 and expanded here
  bool nf4_already = false;   // the files hold in NF4 what is to be quantised, the rest stays plain
  // What is quantised is rounded to that dtype first.
  at::ScalarType nf4_rounding = at::kFloat;
};

// Reads one tensor after another, so that memory never holds more than the results, one tensor's
// bytes and its conversion. Throws EngineError kModel for a tensor that is missing or of another
// shape, which the judge would have refused: the files have changed since.
class WeightReader {
 public:
  // `progress(done, total)`: bytes of the files.
  WeightReader(const ModelWeights& weights, WeightFormat format,
               const std::function<void(int64_t, int64_t)>& progress);

  // The parameter's tensors, stacked by rows.
  Parameter Read(const ParameterInfo& info);

  // The same for the weight of a linear map. In NF4 each tensor is quantised here, or taken
  // as bitsandbytes quantised it.
  LinearLayer ReadLinear(const ParameterInfo& info);

 private:
  const TensorView& Find(const TensorInfo& tensor) const;
  Nf4Part ReadNf4(const TensorInfo& tensor);
  void Done(const TensorView& view);

  const ModelWeights& weights_;
  WeightFormat format_;
  const std::function<void(int64_t, int64_t)>& progress_;
  int64_t done_ = 0, total_ = 0;
};

}  // namespace ftd::engine

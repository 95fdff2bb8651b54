// Quantises every tensor of a safetensors file and dequantises it again, for nf4_test.py, which
// lays the result beside bitsandbytes'.

#include <ATen/ATen.h>

#include <cstdio>

#include "worker/engine/ops/nf4/nf4.h"
#include "worker/engine/tensors/tensor_io.h"

using ftd::engine::NamedTensor;

int main(int argc, char** argv) {
  if (argc != 3) {
    std::fprintf(stderr, "usage: nf4_driver IN.safetensors OUT.safetensors\n");
    return 2;
  }
  const auto file = ftd::engine::ValueOrThrow(ftd::SafetensorsFile::Open(argv[1]));
  std::vector<NamedTensor> out;
  for (const auto& [name, view] : file.tensors()) {
    const at::Tensor weight = ftd::engine::ViewAsTensor(view);
    const ftd::engine::Nf4Tensor q = ftd::engine::QuantizeNf4(weight, weight.scalar_type());
    out.push_back({name + ".codes", q.codes});
    out.push_back({name + ".absmax", q.absmax});
    out.push_back({name + ".nested_absmax", q.nested_absmax});
    out.push_back({name + ".nested_map", q.nested_map});
    out.push_back({name + ".nested_offset", at::tensor(q.nested_offset)});
    for (const auto& [type, label] :
         {std::pair{at::kFloat, "F32"}, {at::kBFloat16, "BF16"}, {at::kHalf, "F16"}}) {
      for (const bool by_aten : {false, true}) {
        const at::Tensor values = at::empty({q.rows, q.cols}, at::TensorOptions(type));
        by_aten ? DequantizeNf4ByAten(q, values) : DequantizeNf4(q, values);
        out.push_back({name + (by_aten ? ".aten_" : ".values_") + label, values});
      }
    }
  }
  ftd::engine::SaveTensors(argv[2], out);
  return 0;
}

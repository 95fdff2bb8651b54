// A weight that bitsandbytes quantised to NF4, as its tensors lie in safetensors files: next to
// NAME stand NAME.absmax, NAME.quant_map, NAME.quant_state.bitsandbytes__nf4 (JSON in bytes) and,
// with double quantisation, NAME.nested_absmax and NAME.nested_quant_map.
#pragma once

#include <cstdint>
#include <string>

#include "absl/status/statusor.h"
#include "lib/model/safetensors.h"

namespace ftd {

inline constexpr int64_t kNf4Block = 64, kNf4NestedBlock = 256;

struct Nf4View {
  TensorView codes;          // ⌈rows·cols / 2⌉ bytes, whatever its dtype and shape say
  TensorView absmax;         // uint8, or float32 without double quantisation
  TensorView nested_absmax;  // float32; empty without double quantisation
  TensorView nested_map;     // float32 [256]; likewise
  double nested_offset = 0;
  int64_t rows = 0, cols = 0;
};

// Returns whether the file holds `name` in NF4.
bool IsNf4(const ModelWeights& weights, const std::string& name);

// Its parts, sizes checked against each other. MODEL_CORRUPT when one is missing or does not fit,
// MODEL_UNSUPPORTED for block sizes other than 64 and 256.
absl::StatusOr<Nf4View> FindNf4(const ModelWeights& weights, const std::string& name);

}  // namespace ftd

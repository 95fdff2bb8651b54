// Traits of a model that its operators, on the CPU and on the GPU, take as they are.
#pragma once

#include <cstdint>

namespace ftd {

// The activation of a gated feed-forward block; GELU in its tanh approximation.
enum class Activation { kSilu, kGelu };

// Where RMSNorm rounds to the dtype, and what it multiplies by; x̂ = x / rms(x) in float32.
enum class NormKind {
  kRounded,  // w · cast(x̂): Llama
  kFloat32,  // cast(w · x̂): OLMo 2
  kOffset,   // cast((1 + w) · x̂): Gemma
};

// The sizes of linear attention by the gated delta rule (Yang et al. 2024, "Gated Delta Networks").
struct DeltaShape {
  int64_t key_heads = 0;
  int64_t value_heads =
      0;                  // a multiple of key_heads, neighbours of which share a key head; 0: none
  int64_t key_dim = 0;    // of a head; queries have the keys' heads
  int64_t value_dim = 0;  // likewise
  int64_t taps = 0;       // tokens that the convolution of queries, keys and values sees

  int64_t keys() const { return key_heads * key_dim; }
  int64_t values() const { return value_heads * value_dim; }
  int64_t channels() const { return 2 * keys() + values(); }  // of the convolution
};

}  // namespace ftd

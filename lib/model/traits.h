// Traits of a model that its operators, on the CPU and on the GPU, take as they are.
#pragma once

namespace ftd {

// The activation of a gated feed-forward block; GELU in its tanh approximation.
enum class Activation { kSilu, kGelu };

// Where RMSNorm rounds to the dtype, and what it multiplies by; x̂ = x / rms(x) in float32.
enum class NormKind {
  kRounded,  // w · cast(x̂): Llama
  kFloat32,  // cast(w · x̂): OLMo 2
  kOffset,   // cast((1 + w) · x̂): Gemma
};

}  // namespace ftd

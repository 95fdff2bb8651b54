// The decoders of tokenizer.json: from tokens back to text.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "nlohmann/json.hpp"

namespace ftd {

// One step, which rewrites the list of tokens. Immutable, thread-safe.
class Decoder {
 public:
  virtual ~Decoder() = default;
  virtual void Apply(std::vector<std::string>* tokens) const = 0;
};

using Decoders = std::vector<std::unique_ptr<Decoder>>;

// The steps of a "decoder" section, in order; none for null. ByteLevel, Metaspace, Replace,
// ByteFallback, Fuse, Strip, Sequence; MODEL_UNSUPPORTED names any other, MODEL_CORRUPT a bad
// field.
absl::StatusOr<Decoders> ParseDecoders(const nlohmann::json& section);

}  // namespace ftd

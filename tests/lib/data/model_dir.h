// A model directory with the small tokenizer, for tests of what needs an encoder.
#pragma once

#include <initializer_list>
#include <memory>
#include <utility>

#include "lib/data/row_encoder.h"
#include "tests/support/small_tokenizer.h"
#include "tests/support/temp_dir.h"

namespace ftd {

// A model directory with a tokenizer, and what `files` adds to it.
struct ModelDir {
  ModelDir(std::initializer_list<std::pair<const char*, nlohmann::json>> files) {
    dir.Write("tokenizer.json", SmallTokenizer().dump());
    for (const auto& [name, content] : files) dir.Write(name, content.dump());
    tokenizer = *Tokenizer::Load(dir.path());
  }
  absl::StatusOr<RowEncoder> Encoder(int32_t seq_length = 0) const {
    return MakeRowEncoder(dir.path(), *tokenizer, seq_length);
  }
  TempDir dir;
  std::unique_ptr<Tokenizer> tokenizer;
};

}  // namespace ftd

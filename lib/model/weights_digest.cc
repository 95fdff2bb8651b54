#include "lib/model/weights_digest.h"

#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/error.h"
#include "lib/base/sha256.h"
#include "lib/model/safetensors.h"

namespace ftd {
namespace {

constexpr size_t kPieces = 16, kPieceBytes = 64;

void AddSample(std::string_view data, Sha256* digest) {
  if (data.size() <= kPieces * kPieceBytes) return digest->Update(data);
  const size_t last = data.size() - kPieceBytes;
  for (size_t i = 0; i < kPieces; ++i)
    digest->Update(data.substr(last / (kPieces - 1) * i, kPieceBytes));
}

}  // namespace

absl::StatusOr<std::string> WeightsDigest(const std::filesystem::path& model_dir) {
  FTD_ASSIGN_OR_RETURN(const ModelWeights weights, ModelWeights::Open(model_dir));
  Sha256 digest;
  for (const auto& [name, tensor] : weights.tensors()) {
    digest.Update(absl::StrCat(name, "\n", std::string(TensorDtypeName(tensor.dtype)), " ",
                               absl::StrJoin(tensor.shape, ","), " ", tensor.data.size(), "\n"));
    AddSample(tensor.data, &digest);
  }
  return digest.HexDigest();
}

}  // namespace ftd

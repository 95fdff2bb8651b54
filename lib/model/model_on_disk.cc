#include "lib/model/model_on_disk.h"

#include <string>

#include "lib/base/error.h"
#include "lib/model/architecture.h"
#include "lib/model/families.h"

namespace ftd {
namespace {

// Tensors of different dtypes count as different, even where all their values are equal.
bool Equal(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.data == b.data;
}

void ResolveTie(ModelOnDisk* model) {
  if (!model->config.tie_word_embeddings) return;
  const std::string embedding = TensorNameOf(model->config, ParameterRole::kEmbedding);
  const std::string head = TensorNameOf(model->config, ParameterRole::kHead);
  const TensorView* own = model->weights.Find(head);
  if (own == nullptr) return;
  const TensorView* shared = model->weights.Find(embedding);
  if (shared == nullptr) {
    model->weights.Add(embedding, *own);
  } else if (!Equal(*shared, *own)) {
    model->config.tie_word_embeddings = false;
  }
}

// A text model that transformers has read from a whole's files and saved again has its type, but
// the whole's names of tensors: transformers reads both.
void ResolveNames(ModelOnDisk* model) {
  const PartNames& part = model->config.family->part;
  if (model->config.is_part() || part.own_prefix.empty()) return;
  model->weights.Rename(part.prefix, part.own_prefix);
}

}  // namespace

absl::StatusOr<ModelOnDisk> OpenModel(const std::filesystem::path& model_dir) {
  ModelOnDisk model;
  FTD_ASSIGN_OR_RETURN(model.config, ReadModelConfig(model_dir));
  FTD_ASSIGN_OR_RETURN(model.weights, ModelWeights::Open(model_dir));
  ResolveNames(&model);
  ResolveTie(&model);
  return model;
}

}  // namespace ftd

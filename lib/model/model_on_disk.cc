#include "lib/model/model_on_disk.h"

#include <string>

#include "lib/base/error.h"
#include "lib/model/architecture.h"

namespace ftd {
namespace {

// Tensors of different dtypes count as different, even where all their values are equal.
bool Equal(const TensorView& a, const TensorView& b) {
  return a.dtype == b.dtype && a.shape == b.shape && a.data == b.data;
}

void ResolveTie(ModelOnDisk* model) {
  if (!model->config.tie_word_embeddings) return;
  ModelConfig untied = model->config;
  untied.tie_word_embeddings = false;
  untied.num_hidden_layers = 0;
  std::string embedding, head;
  (void)VisitParameters(untied, [&](const ParameterInfo& parameter) {
    if (parameter.role == ParameterRole::kEmbedding) embedding = parameter.tensors[0].name;
    if (parameter.role == ParameterRole::kHead) head = parameter.tensors[0].name;
    return absl::OkStatus();
  });
  const TensorView* own = model->weights.Find(head);
  if (own == nullptr) return;
  const TensorView* shared = model->weights.Find(embedding);
  if (shared == nullptr) {
    model->weights.Add(embedding, *own);
  } else if (!Equal(*shared, *own)) {
    model->config.tie_word_embeddings = false;
  }
}

}  // namespace

absl::StatusOr<ModelOnDisk> OpenModel(const std::filesystem::path& model_dir) {
  ModelOnDisk model;
  FTD_ASSIGN_OR_RETURN(model.config, ReadModelConfig(model_dir));
  FTD_ASSIGN_OR_RETURN(model.weights, ModelWeights::Open(model_dir));
  ResolveTie(&model);
  return model;
}

}  // namespace ftd

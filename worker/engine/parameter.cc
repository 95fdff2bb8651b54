#include "worker/engine/parameter.h"

#include <ATen/ops/zeros_like.h>

namespace ftd::engine {

void Parameter::MakeTrainable(bool weight_decay) {
  master = value.to(at::kFloat);  // the same tensor when it is float32 already
  grad = at::zeros_like(master);
  exp_avg = at::zeros_like(master);
  exp_avg_sq = at::zeros_like(master);
  decays = weight_decay;
}

}  // namespace ftd::engine

// What the operators of a step measure, until the host reads it.
#pragma once

#include <ATen/core/Tensor.h>
#include <ATen/ops/cat.h>
#include <ATen/ops/stack.h>

#include <cstdint>
#include <vector>

#include "worker/engine/ops/loss/loss.h"
#include "worker/engine/train.h"

namespace ftd::engine {

// The measurements of a step's operators. They stay on the device until all of the operators are
// queued: reading one earlier would leave the device idle while the CPU queues the rest.
struct Measurements {
  std::vector<DeviceSums> sums;    // of each micro-batch
  std::vector<int64_t> positions;  // its labels
  at::Tensor grad_norm;

  // Parts of a micro-batch count as one, as if it had been computed whole.
  void Add(const DeviceSums& of, int64_t labels, bool continues) {
    if (continues) {
      sums.back() = sums.back().add(of);
      positions.back() += labels;
    } else {
      sums.push_back(of);
      positions.push_back(labels);
    }
  }

  // Waits for the device, once.
  void Read(int64_t num_items, StepResult& result) const {
    const at::Tensor numbers =
        at::cat({at::stack(sums).flatten(), grad_norm.to(at::kDouble).view({1})}).cpu();
    // The loss is one mean over the step's labels; TRL's metrics are means of micro-batches' means.
    for (size_t i = 0; i < sums.size(); ++i) {
      const LossSums of = OnHost(numbers.narrow(0, 3 * static_cast<int64_t>(i), 3), positions[i]);
      result.loss += of.loss;
      result.entropy += of.Mean(of.entropy);
      result.mean_token_accuracy += of.Mean(static_cast<double>(of.correct));
    }
    result.loss /= static_cast<double>(num_items);
    result.entropy /= static_cast<double>(sums.size());
    result.mean_token_accuracy /= static_cast<double>(sums.size());
    result.grad_norm = numbers[-1].item<double>();
  }
};

}  // namespace ftd::engine

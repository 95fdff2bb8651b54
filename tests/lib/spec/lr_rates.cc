// The learning rates of runs as a filter, for a test in Python.
//
//   lr_rates    stdin: {"spec": JobSpec JSON, "steps": N} a line; stdout for each: [rate of step 1,
//               …, of step N]
#include <iostream>
#include <string>
#include <vector>

#include "lib/spec/train_spec.h"
#include "nlohmann/json.hpp"

int main() {
  for (std::string line; std::getline(std::cin, line);) {
    const auto wanted = nlohmann::json::parse(line);
    const auto spec = ftd::ResolveTrainSpec(wanted["spec"].dump(), ftd::Dtype::kFloat32);
    if (!spec.ok()) {
      std::cerr << spec.status() << '\n';
      return 1;
    }
    const int64_t steps = wanted["steps"];
    std::vector<double> rates;
    for (int64_t step = 1; step <= steps; ++step)
      rates.push_back(ftd::LearningRate(spec->lr_schedule, spec->learning_rate, step, steps));
    std::cout << nlohmann::json(rates).dump() << '\n';
  }
}

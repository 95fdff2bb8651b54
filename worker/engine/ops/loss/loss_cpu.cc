#include "worker/engine/ops/loss/loss_cpu.h"

#include <ATen/Parallel.h>
#include <ATen/ops/zeros.h>

#include <cmath>
#include <limits>
#include <vector>

#include "worker/engine/device/cpu_rows.h"
#include "worker/engine/device/multiversion.h"

namespace ftd::engine::cpu {
namespace {

// Returns the largest entry. Sixteen running maxima vectorise, and a maximum has no rounding, so
// their order does not matter.
FTD_MULTIVERSION float Max(const float* x, int64_t n) {
  float maxima[16];
  for (float& m : maxima) m = -std::numeric_limits<float>::infinity();
  int64_t i = 0;
  for (; i + 16 <= n; i += 16) {
    for (int j = 0; j < 16; ++j) maxima[j] = x[i + j] > maxima[j] ? x[i + j] : maxima[j];
  }
  float most = -std::numeric_limits<float>::infinity();
  for (; i < n; ++i) most = x[i] > most ? x[i] : most;
  for (float m : maxima) most = m > most ? m : most;
  return most;
}

// Σ e and Σ e·s over a row, s = x − most and e = eˢ.
struct ExpSums {
  double e = 0, es = 0;
};

// Sets x ← e^(x − most); returns the sums. Sixteen float sums run over stretches of 4,096 entries
// and are added up in double: over a whole vocabulary of 10⁵ entries they would lose digits.
FTD_MULTIVERSION ExpSums ExpRow(float* x, float most, int64_t n) {
  ExpSums total;
  for (int64_t begin = 0; begin < n;
       begin += 4096) {  // float sums of short stretches, added up in double
    const int64_t end = begin + 4096 < n ? begin + 4096 : n;
    float e_sums[16] = {}, es_sums[16] = {};
    int64_t i = begin;
    for (; i + 16 <= end; i += 16) {
      for (int j = 0; j < 16; ++j) {
        const float s = x[i + j] - most;
        const float e = Exp(s);
        x[i + j] = e;
        e_sums[j] += e;
        es_sums[j] += e * s;
      }
    }
    for (; i < end; ++i) {
      const float s = x[i] - most;
      x[i] = Exp(s);
      total.e += x[i];
      total.es += x[i] * s;
    }
    for (float sum : e_sums) total.e += sum;
    for (float sum : es_sums) total.es += sum;
  }
  return total;
}

// Sets x ← x · factor − less.
FTD_MULTIVERSION void ScaleRow(float* x, float factor, float less, int64_t n) {
  for (int64_t i = 0; i < n; ++i) x[i] = x[i] * factor - less;
}

}  // namespace

DeviceSums CrossEntropyInPlace(at::Tensor& logits, const at::Tensor& targets, double smoothing) {
  const int64_t S = logits.size(0), V = logits.size(1);
  const SmoothedTarget q(smoothing, V);
  float* data = logits.mutable_data_ptr<float>();
  const int64_t* target = targets.const_data_ptr<int64_t>();
  // Summed in order afterwards, so that the threads do not show.
  std::vector<LossSums> rows(static_cast<size_t>(S));
  at::parallel_for(0, S, Grain(V), [&](int64_t begin, int64_t end) {
    for (int64_t s = begin; s < end; ++s) {
      float* row = data + s * V;
      // With s = z − max z, so that no e^s overflows:
      //   −log p_y = log Σ e^s − s_y
      //   −Σ p log p = log Σ e^s − Σ e^s s / Σ e^s
      //   gradient = e^s / Σ e^s − q
      const float most = Max(row, V);
      // Read before ExpRow overwrites the row.
      const double shifted_target = static_cast<double>(row[target[s]]) - most;
      // The first of equal entries counts, as with argmax: none before the target may be as large.
      const bool likeliest = row[target[s]] == most && Max(row, target[s]) < most;
      const ExpSums sums = ExpRow(row, most, V);
      const double log_sum = std::log(sums.e);
      rows[static_cast<size_t>(s)] = {log_sum - shifted_target, log_sum - sums.es / sums.e,
                                      likeliest ? 1 : 0, 1};
      ScaleRow(row, static_cast<float>(1 / sums.e), q.everywhere, V);
      row[target[s]] -= q.at_target;
    }
  });
  DeviceSums sums = at::zeros({3}, at::TensorOptions(at::kDouble));
  auto* total = sums.mutable_data_ptr<double>();
  for (const LossSums& row : rows) {
    total[0] += row.loss;
    total[1] += row.entropy;
    total[2] += static_cast<double>(row.correct);
  }
  return sums;
}

}  // namespace ftd::engine::cpu

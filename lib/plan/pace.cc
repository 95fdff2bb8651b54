#include "lib/plan/pace.h"

#include <algorithm>
#include <vector>

namespace ftd {
namespace {

constexpr size_t kMostRuns = 5;
// The pace of one machine differs from run to run: other programs, clocks, temperatures.
constexpr double kSameShapeSpread = 1.15;
// Steps of another size keep the device busy to another degree.
constexpr double kOtherStepsSpread = 1.5;
constexpr double kSimilarSteps = 2;
constexpr double kOtherJobsSpread = 3;
// Shares of a device's peak that training reaches: from small models, which are bound by memory and
// by what is between the products, to large ones.
constexpr double kLeastOfPeak = 0.1, kMostOfPeak = 0.7;
constexpr double kLeastAround = 1, kMostAround = 60;  // seconds to load and to write a result

bool IsSameShape(const PacedWork& a, const PacedWork& b) {
  return a.model == b.model && a.mode == b.mode && a.dtype == b.dtype;
}

bool HasSimilarSteps(const PacedWork& a, const PacedWork& b) {
  return a.tokens_in_step <= kSimilarSteps * b.tokens_in_step &&
         b.tokens_in_step <= kSimilarSteps * a.tokens_in_step;
}

// Returns the newest runs of which `fits` is true.
template <typename Fits>
std::vector<PastRun> Newest(absl::Span<const PastRun> past, const Fits& fits) {
  std::vector<PastRun> runs;
  for (const PastRun& run : past) {
    if (runs.size() == kMostRuns) break;
    if (run.work.flops > 0 && run.steps > 0 && fits(run.work)) runs.push_back(run);
  }
  return runs;
}

// Returns the times that the work would take at the pace of each run, the range widened by a
// factor.
TimeRange RangeOf(const PacedWork& work, const std::vector<PastRun>& runs, double spread,
                  PaceBasis basis) {
  TimeRange range{.basis = basis, .runs = static_cast<int64_t>(runs.size())};
  for (const PastRun& run : runs) {
    const double seconds =
        run.before_steps + work.flops * run.steps / run.work.flops + run.after_steps;
    range.low = range.low == 0 ? seconds : std::min(range.low, seconds);
    range.high = std::max(range.high, seconds);
  }
  range.low /= spread;
  range.high *= spread;
  return range;
}

}  // namespace

std::optional<TimeRange> EstimateTime(const PacedWork& work, absl::Span<const PastRun> past,
                                      double peak) {
  const auto same = [&](const PacedWork& other) { return IsSameShape(other, work); };
  const auto similar = [&](const PacedWork& other) {
    return same(other) && HasSimilarSteps(other, work);
  };
  if (const auto runs = Newest(past, similar); !runs.empty())
    return RangeOf(work, runs, kSameShapeSpread, PaceBasis::kSameShape);
  if (const auto runs = Newest(past, same); !runs.empty())
    return RangeOf(work, runs, kOtherStepsSpread, PaceBasis::kSameShape);
  const auto of_dtype = [&](const PacedWork& other) { return other.dtype == work.dtype; };
  if (const auto runs = Newest(past, of_dtype); !runs.empty())
    return RangeOf(work, runs, kOtherJobsSpread, PaceBasis::kOtherJobs);
  if (peak <= 0) return std::nullopt;
  return TimeRange{.low = kLeastAround + work.flops / (kMostOfPeak * peak),
                   .high = kMostAround + work.flops / (kLeastOfPeak * peak)};
}

}  // namespace ftd

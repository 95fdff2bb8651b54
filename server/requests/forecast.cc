#include "server/requests/forecast.h"

#include <algorithm>
#include <cmath>
#include <deque>
#include <utility>

#include "absl/algorithm/container.h"
#include "absl/container/flat_hash_set.h"
#include "absl/time/clock.h"
#include "lib/hub/sources.h"
#include "lib/plan/flops.h"
#include "lib/runlog/step_log.h"
#include "lib/runlog/timestamp.h"
#include "server/attempts/attempt_files.h"
#include "server/jobs/job_states.h"
#include "server/requests/job_view.h"

namespace ftd {
namespace {

constexpr int64_t kMostRuns = 32;       // jobs whose pace is looked at
constexpr int64_t kMostForecast = 200;  // of the queue
constexpr int64_t kPaceSteps = 20;      // as many as ftctl watch takes the mean of
constexpr absl::Duration kForecastShared = absl::Seconds(2),
                         kSharedAtLeast = absl::Milliseconds(100);

// The mean time of an attempt's last steps.
std::optional<double> SecondsPerStep(const std::filesystem::path& attempt_dir) {
  const auto range = ReadStepRange(attempt_dir).value_or(std::nullopt);
  if (!range.has_value()) return std::nullopt;
  const int64_t rows = range->last.step() - range->first + 1;
  const auto steps =
      ReadSteps(attempt_dir / kStepsLog, std::max<int64_t>(0, rows - kPaceSteps), kPaceSteps);
  if (!steps.ok() || steps->empty()) return std::nullopt;
  double sum = 0;
  for (const v1::StepMetrics& step : *steps) sum += step.step_seconds();
  return sum / static_cast<double>(steps->size());
}

PacedWork WorkOf(const Job& job, const TrainSpec& spec, const v1::JobPlan& plan) {
  return {.model = job.model_dir,
          .mode = spec.mode,
          .dtype = spec.dtype,
          .flops = plan.model_flops() + plan.evaluation_flops(),
          .tokens_in_step = static_cast<double>(plan.tokens()) / std::max<double>(1, plan.steps())};
}

// Returns the wall time of an attempt's parts, and its share of the plan's tokens.
std::optional<PastRun> TimedRun(const std::filesystem::path& attempt_dir, const Attempt& attempt,
                                PacedWork work, int64_t planned_tokens) {
  const auto range = ReadStepRange(attempt_dir).value_or(std::nullopt);
  const auto first = ReadSteps(attempt_dir / kStepsLog, 0, 1);
  if (!range.has_value() || !first.ok() || first->empty() || planned_tokens <= 0 ||
      !attempt.end_time.has_value())
    return std::nullopt;
  const v1::StepMetrics& begin = first->front();
  const v1::StepMetrics& end = range->last;
  const absl::Time steps_began = ToTime(begin.time()) - absl::Seconds(begin.step_seconds());
  const int64_t tokens = end.tokens_total() - begin.tokens_total() + begin.tokens();
  work.flops *= static_cast<double>(tokens) / static_cast<double>(planned_tokens);
  const auto seconds = [](absl::Duration time) {
    return std::max(0.0, absl::ToDoubleSeconds(time));
  };
  return PastRun{.work = std::move(work),
                 .before_steps = seconds(steps_began - attempt.start_time),
                 .steps = seconds(ToTime(end.time()) - steps_began),
                 .after_steps = seconds(*attempt.end_time - ToTime(end.time()))};
}

// The middle of a range of times whose ends are factors apart.
absl::Duration Middle(const TimeRange& range) {
  return absl::Seconds(std::sqrt(range.low * range.high));
}

v1::JobPlan::Time::Basis ToWire(PaceBasis basis) {
  switch (basis) {
    case PaceBasis::kSameShape:
      return v1::JobPlan::Time::SAME_SHAPE;
    case PaceBasis::kOtherJobs:
      return v1::JobPlan::Time::OTHER_JOBS;
    case PaceBasis::kPeak:
      break;
  }
  return v1::JobPlan::Time::PEAK;
}

}  // namespace

std::optional<double> SecondsLeft(JobStore& store, const StateDir& state_dir, const Job& job,
                                  const v1::Job& view) {
  const int64_t planned = std::max(view.progress().steps_planned(), view.spec().max_steps());
  if (job.state != JobState::kRunning || planned == 0) return std::nullopt;
  const auto attempts = store.Attempts(job.id);
  if (!attempts.ok() || attempts->empty()) return std::nullopt;
  const auto pace = SecondsPerStep(state_dir.AttemptDir(job.id, attempts->back().number));
  if (!pace.has_value()) return std::nullopt;
  return *pace * static_cast<double>(std::max<int64_t>(0, planned - view.last_step().step()));
}

// A job's plan never changes once it is made.
std::shared_ptr<const v1::JobPlan> Forecast::PlanOf(const Job& job) const {
  if (auto known = plans_.Find(job.id)) return known;
  const auto attempts = store_.Attempts(job.id);
  if (!attempts.ok()) return nullptr;
  const auto report = JobDataReport(state_dir_, job.id, static_cast<int32_t>(attempts->size()));
  if (!report.has_value() || !report->has_plan()) return nullptr;
  auto plan = std::make_shared<const v1::JobPlan>(report->plan());
  plans_.Keep(job.id, plan);
  return plan;
}

// Of an attempt that ran to the job's end: those before it may have been broken off in their first
// step.
std::optional<PastRun> Forecast::TimedRunOf(const Job& job) const {
  const auto plan = PlanOf(job);
  const auto spec = ResolveTrainSpec(job.spec_json, Dtype::kFloat32);
  const auto attempts = store_.Attempts(job.id);
  if (plan == nullptr || !spec.ok() || !attempts.ok() || attempts->empty()) return std::nullopt;
  const Attempt& last = attempts->back();
  return TimedRun(state_dir_.AttemptDir(job.id, last.number), last, WorkOf(job, *spec, *plan),
                  plan->tokens());
}

// That nothing is known of a job is remembered too: looks come up to ten times a second.
std::shared_ptr<const std::optional<PastRun>> Forecast::RunOf(const Job& job) const {
  if (auto known = runs_.Find(job.id)) return known;
  auto run = std::make_shared<const std::optional<PastRun>>(TimedRunOf(job));
  runs_.Keep(job.id, run);
  return run;
}

std::vector<PastRun> Forecast::PastRuns() const {
  std::vector<PastRun> runs;
  const auto ended = store_.List(INT64_MAX, {JobState::kSucceeded}, kMostRuns);
  if (!ended.ok()) return runs;
  for (const Job& job : *ended) {
    if (const auto run = RunOf(job); run->has_value()) runs.push_back(**run);
  }
  return runs;
}

double Forecast::Peak(Dtype dtype) const {
  if (device_.peak_tflops > 0) return device_.peak_tflops * 1e12;
  const auto sample = gpus_.Last();
  if (!device_.cuda || !sample.has_value() || sample->empty()) return 0;
  return PeakFlops(sample->front().name, dtype);
}

std::optional<TimeRange> Forecast::Estimate(const Job& job, const v1::JobPlan& plan,
                                            const Outlook& outlook) const {
  const auto spec = ResolveTrainSpec(job.spec_json, Dtype::kFloat32);
  if (!spec.ok() || plan.steps() == 0) return std::nullopt;
  return EstimateTime(WorkOf(job, *spec, plan), outlook.past, Peak(spec->dtype));
}

void Forecast::Complete(const Job& job, v1::JobPlan* plan) const {
  // A worker fetches before it counts, so an active job misses nothing.
  if (!job.sources_json.empty() && !IsActive(job.state)) {
    if (const auto sources = hub::SourcesFromJson(job.sources_json); sources.ok())
      plan->mutable_disk()->set_download_bytes(hub::MissingBytes(*sources));
  }
  const auto range = Estimate(job, *plan, *Recent());
  if (!range.has_value()) return;
  v1::JobPlan::Time& time = *plan->mutable_time();
  time.set_low_seconds(range->low);
  time.set_high_seconds(range->high);
  time.set_basis(ToWire(range->basis));
  time.set_jobs(range->runs);
}

std::optional<absl::Duration> Forecast::TimeOf(const Job& job, const Outlook& outlook) const {
  const auto plan = PlanOf(job);
  if (plan == nullptr) return std::nullopt;
  const auto range = Estimate(job, *plan, outlook);
  if (!range.has_value()) return std::nullopt;
  return Middle(*range);
}

// While it prepares, by its plan; once it takes steps, by their pace, without what follows the last
// of them.
std::optional<absl::Time> Forecast::EndOf(const Job& active, const Outlook& outlook) const {
  const absl::Time now = absl::Now();
  if (active.state == JobState::kRunning) {
    const auto view = ViewJobBriefly(store_, state_dir_, active);
    if (!view.ok()) return std::nullopt;
    if (const auto left = SecondsLeft(store_, state_dir_, active, *view))
      return now + absl::Seconds(*left);
  }
  const auto whole = TimeOf(active, outlook);
  if (!whole.has_value()) return std::nullopt;
  const auto attempts = store_.Attempts(active.id);
  const bool began = attempts.ok() && !attempts->empty();
  return std::max(now, (began ? attempts->back().start_time : now) + *whole);
}

// Jobs run one at a time, in the order of the queue; one that waits for others is passed over until
// those have ended. What follows a job whose time is not known is not known either.
Forecast::Outlook Forecast::Look() const {
  Outlook outlook{.made = SteadyNow(), .changes = store_.changes()};
  outlook.past = PastRuns();
  const auto active = store_.Active();
  const auto queued = store_.Queued(kMostForecast);
  if (!active.ok() || !queued.ok()) return outlook;
  std::optional<absl::Time> free = absl::Now();
  absl::flat_hash_set<std::string> ahead;  // jobs that others may wait for
  for (const Job& job : *active) {
    const auto end = EndOf(job, outlook);
    outlook.times[job.id].end = end;
    free = free.has_value() && end.has_value() ? std::max(free, end) : std::nullopt;
  }
  for (const Job& job : *queued) ahead.insert(job.id);
  std::deque<Job> waiting(queued->begin(), queued->end());
  while (!waiting.empty() && free.has_value() && !store_.drained()) {
    const auto next = absl::c_find_if(waiting, [&](const Job& job) {
      return absl::c_none_of(job.after, [&](const auto& id) { return ahead.contains(id); });
    });
    if (next == waiting.end()) break;
    Times& times = outlook.times[next->id];
    times.start = std::max(*free, next->not_before.value_or(*free));
    if (const auto time = TimeOf(*next, outlook)) times.end = *times.start + *time;
    free = times.end;
    ahead.erase(next->id);
    waiting.erase(next);
  }
  if (waiting.empty()) outlook.idle = free;
  return outlook;
}

std::shared_ptr<const Forecast::Outlook> Forecast::Recent() const {
  const absl::MutexLock lock(&mutex_);
  const absl::Duration age = recent_ == nullptr ? kForecastShared : SteadyNow() - recent_->made;
  if (age >= kForecastShared || (age >= kSharedAtLeast && recent_->changes != store_.changes()))
    recent_ = std::make_shared<const Outlook>(Look());
  return recent_;
}

void Forecast::AddPlace(v1::Estimate* estimate) const {
  const auto outlook = Recent();
  const int64_t queued = store_.CountByState().at(JobState::kQueued);
  estimate->set_jobs_ahead(store_.CountActive() + queued);
  if (queued <= kMostForecast && outlook->idle.has_value())
    *estimate->mutable_start_time() = ToTimestamp(*outlook->idle);
}

void Forecast::AddTo(const Job& job, v1::Job* view) const {
  if (IsFinal(job.state)) return;
  if (view->has_data_report() && view->data_report().has_plan())
    Complete(job, view->mutable_data_report()->mutable_plan());
  if (job.state != JobState::kQueued && !IsActive(job.state)) return;
  const auto outlook = Recent();
  const auto found = outlook->times.find(job.id);
  if (found == outlook->times.end()) return;
  const Times& times = found->second;
  if (times.start.has_value()) *view->mutable_estimated_start_time() = ToTimestamp(*times.start);
  if (times.end.has_value()) *view->mutable_estimated_end_time() = ToTimestamp(*times.end);
}

}  // namespace ftd

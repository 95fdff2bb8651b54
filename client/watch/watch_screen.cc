#include "client/watch/watch_screen.h"

#include <algorithm>
#include <cmath>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/base/exit_codes.h"
#include "client/text/names.h"
#include "client/text/plot.h"
#include "client/text/progress_text.h"
#include "client/text/sample_text.h"
#include "client/text/styled_line.h"
#include "client/text/text.h"
#include "client/text/times.h"
#include "lib/base/short_bytes.h"
#include "lib/runlog/step_metrics.h"

namespace ftd {
namespace {

using ftd::v1::Job;
using Lines = std::vector<StyledLine>;

constexpr int kFewestPlotRows = 6;
constexpr int kWarningsShown = 3, kSamplesShown = 4;

StyledLine Title(const Job& job) {
  StyledLine line;
  line.Add(Ink::kBold, job.id());
  if (!job.name().empty()) line.Add(Ink::kBold, absl::StrCat("  ", job.name()));
  line.Add(absl::StrCat("   ", ModeName(job.spec().mode()), " on "));
  line.Add(Ink::kAccent, ModelName(job.spec()));
  return line;
}

// "RUNNING   train   attempt 2   1h05m"
StyledLine StateLine(const WatchState& state, double now) {
  const Job& job = state.job();
  StyledLine line;
  line.Add(StateInk(job.state()), StateName(job.state()));
  if (job.state() == Job::QUEUED) {
    if (job.position() > 0) line.Add(absl::StrCat("   position ", job.position()));
    const std::string why = PendingText(job.pending_reason());
    if (!why.empty()) line.Add(absl::StrCat("   ", why));
  }
  const std::string failure = FailureName(job.failure_reason());
  if (!failure.empty()) line.Add(Ink::kBad, absl::StrCat("   ", failure));
  const std::string phase = PhaseName(job.progress().phase());
  if ((job.state() == Job::PREPARING || job.state() == Job::RUNNING) && !phase.empty()) {
    line.Add(absl::StrCat("   ", phase));
  }
  if (state.attempt() > 1) line.Add(Ink::kWarn, absl::StrCat("   attempt ", state.attempt()));
  if (job.has_start_time()) {
    const double end = job.has_end_time() ? Seconds(job.end_time()) : now;
    line.Add(Ink::kDim, absl::StrCat("   ", ShortDuration(end - Seconds(job.start_time()))));
  }
  return line;
}

// Steps once there are any planned, else the phase's own amount.
void AddProgress(const WatchState& state, const ScreenStyle& style, Lines* lines) {
  const Job& job = state.job();
  const int64_t planned = StepsPlanned(job);
  if (state.has_step() && planned > 0) {
    const double share = static_cast<double>(state.step().step()) / static_cast<double>(planned);
    std::string text =
        absl::StrCat("step ", state.step().step(), "/", planned, "  ", Fixed(100 * share, 0), "%");
    if (const auto eta = state.eta_seconds()) absl::StrAppend(&text, "  ETA ", ShortDuration(*eta));
    lines->push_back(BarLine(share, text, style));
    return;
  }
  const auto& progress = job.progress();
  if (IsFinal(job.state()) || progress.total() <= 0) return;
  const double share = static_cast<double>(progress.done()) / static_cast<double>(progress.total());
  lines->push_back(BarLine(share, ProgressText(progress), style));
}

// Adds values with their labels or units, as many on a line as fit. Which ones is in the table of
// metrics.
void AddMetrics(const WatchState& state, const ScreenStyle& style, Lines* lines) {
  if (!state.has_step()) return;
  const auto& step = state.step();
  struct Metric {
    const char* label;  // before the value
    std::string value;
    const char* unit;  // after it
  };
  std::vector<Metric> metrics;
  for (const StepMetric& metric : StepMetricsTable()) {
    const auto value = ValueIn(step, metric);
    if (metric.screen.before != nullptr && value)
      metrics.push_back({metric.screen.before, Text(metric.screen, value), metric.screen.after});
    if (metric.name == std::string_view("loss"))
      metrics.push_back({"smoothed ", Fixed(state.losses().back().smoothed, 4), ""});
    if (metric.name == std::string_view("step_seconds"))
      metrics.push_back({"", Fixed(state.seconds_per_step(), 2), " s/step"});
  }
  if (!state.evaluations().empty())
    metrics.push_back({"eval loss ", Fixed(state.evaluations().back().loss(), 4), ""});
  StyledLine line;
  for (const Metric& metric : metrics) {
    const int width = DisplayWidth(absl::StrCat(metric.label, metric.value, metric.unit));
    const bool full = line.width() > 0 && line.width() + 3 + width > style.columns;
    if (full) lines->push_back(std::exchange(line, {}));
    if (line.width() > 0) line.Add("   ");
    line.Add(Ink::kDim, metric.label);
    line.Add(Ink::kBold, metric.value);
    line.Add(Ink::kDim, metric.unit);
  }
  lines->push_back(line);
}

// Adds `text` in lines of at most `columns`, broken at blanks.
void AddWrapped(Ink ink, const std::string& text, int columns, Lines* lines) {
  StyledLine line;
  for (absl::string_view word : absl::StrSplit(Printable(text), ' ', absl::SkipEmpty())) {
    if (line.width() > 0 && line.width() + 1 + DisplayWidth(std::string(word)) > columns) {
      lines->push_back(std::exchange(line, {}));
    }
    line.Add(ink, absl::StrCat(line.width() > 0 ? " " : "", word));
  }
  lines->push_back(line);
}

std::string CtrlC(const Job& job) {
  if (job.state() == Job::PAUSED)
    return absl::StrCat(NextStep(job), " resumes the job; Ctrl-C leaves it paused");
  return absl::StrCat("Ctrl-C leaves the job running; ftctl cancel ", JobHandle(job), " ends it");
}

// Returns the lines below the plot, the most important first: when room is short the last go.
Lines Notes(const WatchState& state, const ScreenStyle& style, double now,
            const std::string& ctrl_c) {
  const Job& job = state.job();
  Lines lines;
  if (!state.lost().empty()) {
    AddWrapped(Ink::kWarn, "no contact to ftd, trying again; the job is not affected",
               style.columns, &lines);
  }
  for (int i = std::max(0, job.warnings_size() - kWarningsShown); i < job.warnings_size(); ++i) {
    lines.emplace_back().Add(Ink::kWarn, absl::StrCat("warning  ", Printable(job.warnings(i))));
  }
  if (job.checkpoints_size() > 0) {
    const auto& last = job.checkpoints(job.checkpoints_size() - 1);
    std::string text =
        absl::StrCat("checkpoint  step ", last.step(), ", ", ShortBytes(last.size_bytes()));
    if (last.has_create_time())
      absl::StrAppend(&text, ", ", ShortDuration(now - Seconds(last.create_time())), " ago");
    lines.emplace_back().Add(Ink::kDim, text);
  }
  for (const auto& sample : job.last_samples()) {
    if (sample.index() >= kSamplesShown) break;
    lines.emplace_back().Add(Ink::kDim, absl::StrCat("sample  step ", sample.step(), ", "));
    lines.back().Add(SampleText(sample, style.columns));
  }
  if (!IsFinal(job.state()))
    lines.emplace_back().Add(Ink::kDim, ctrl_c.empty() ? CtrlC(job) : ctrl_c);
  return lines;
}

// Each loss, their smoothed line, and the evaluations.
std::vector<PlotSeries> Curves(const WatchState& state) {
  PlotSeries losses = {PlotSeries::Form::kDots, Ink::kDim, "loss", {}};
  PlotSeries smoothed = {PlotSeries::Form::kLine, Ink::kAccent, "smoothed", {}};
  PlotSeries evaluations = {PlotSeries::Form::kMarks, Ink::kWarn, "eval loss", {}};
  for (const StepLoss& at : state.losses()) {
    const auto step = static_cast<double>(at.step);
    losses.points.push_back({step, at.loss});
    smoothed.points.push_back({step, at.smoothed});
  }
  for (const auto& evaluation : state.evaluations())
    evaluations.points.push_back({static_cast<double>(evaluation.step()), evaluation.loss()});
  return {std::move(losses), std::move(smoothed), std::move(evaluations)};
}

// Nothing if there is too little room for a plot that says something.
Lines PlotLines(const WatchState& state, const ScreenStyle& style, int room) {
  // A plot needs a blank line above and below.
  if (room < kFewestPlotRows + 2) return {};
  Lines lines = Plot(Curves(state), "step", style.columns, room - 2, style.unicode);
  if (lines.empty()) return lines;
  lines.emplace(lines.begin());
  lines.emplace_back();
  return lines;
}

}  // namespace

std::vector<std::string> RenderWatchScreen(const WatchState& state, const Gpus& gpus,
                                           const ScreenStyle& style, double now,
                                           const std::string& ctrl_c) {
  if (state.job().id().empty()) return {Shorten("waiting for ftd", style.columns, style.unicode)};
  Lines lines = {Title(state.job()), StateLine(state, now)};
  AddProgress(state, style, &lines);
  AddMetrics(state, style, &lines);
  if (!state.job().result_dir().empty()) {
    AddWrapped(Ink::kGood, absl::StrCat("result ", state.job().result_dir()), style.columns,
               &lines);
  }
  const Lines notes = Notes(state, style, now, ctrl_c);
  // The rest leaves room for the GPUs, and they leave some for the plot.
  int room = style.rows - static_cast<int>(lines.size() + notes.size());
  for (const Gpu& gpu : gpus) {
    if (--room < 0) break;
    lines.push_back(GpuLine(gpu, style.unicode));
  }
  for (const Lines& part : {PlotLines(state, style, room), notes})
    lines.insert(lines.end(), part.begin(), part.end());
  return RenderLines(lines, style);
}

}  // namespace ftd

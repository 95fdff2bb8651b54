#include "client/watch/watch_lines.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/text/names.h"
#include "client/text/sample_text.h"
#include "client/text/text.h"
#include "lib/base/short_bytes.h"
#include "lib/runlog/step_metrics.h"

namespace ftd {
namespace {

using ftd::v1::Job;
using ftd::v1::WatchJobResponse;

constexpr int kAnswerColumns = 300;

// A word first and "  " between parts, so that lines can be searched.
std::string StateText(const WatchState& state) {
  const Job& job = state.job();
  std::string line = absl::StrCat("state ", StateName(job.state()));
  switch (job.state()) {
    case Job::QUEUED:
      if (job.position() > 0) absl::StrAppend(&line, "  position ", job.position());
      if (const std::string why = PendingText(job.pending_reason()); !why.empty())
        absl::StrAppend(&line, "  ", why);
      break;
    case Job::PREPARING:
    case Job::RUNNING:
      if (state.attempt() > 0) absl::StrAppend(&line, "  attempt ", state.attempt());
      break;
    case Job::SUCCEEDED:
      absl::StrAppend(&line, "  result ",
                      IsResultPruned(job) ? "pruned" : Printable(job.result_dir()));
      break;
    case Job::FAILED:
      // The message is told on stderr, by whoever reports the outcome.
      absl::StrAppend(&line, "  ", FailureName(job.failure_reason()));
      break;
    default:
      if (!job.message().empty()) absl::StrAppend(&line, "  ", Printable(job.message()));
  }
  return line;
}

// Of steps that ftd left out, because this program had stood still or its output was blocked.
std::string CollapsedText(int64_t steps) {
  return absl::StrCat("left out ", steps, steps == 1 ? " step" : " steps",
                      "  read too slowly; ftctl metrics has all");
}

std::string StepText(const WatchState& state) {
  const auto& step = state.step();
  const int64_t interval = std::max(1, state.job().spec().logging_steps());
  const int64_t planned = StepsPlanned(state.job());
  // Every logging_steps-th step and the last, as transformers logs.
  if (step.step() % interval != 0 && step.step() != planned) return "";
  std::string line = absl::StrCat("step ", step.step());
  if (planned > 0) absl::StrAppend(&line, "/", planned);
  absl::StrAppend(&line, "  ", StepLine(step));
  if (const auto eta = state.eta_seconds()) absl::StrAppend(&line, "  ETA ", ShortDuration(*eta));
  return line;
}

}  // namespace

// "" for events that say nothing on a line: progress and bookmarks come too often.
std::string WatchLine(const WatchState& state, const WatchJobResponse& event) {
  switch (event.event_case()) {
    case WatchJobResponse::kSnapshot:
    case WatchJobResponse::kStateChange:
      return StateText(state);
    case WatchJobResponse::kStep: {
      const std::string step = StepText(state);
      if (event.collapsed() == 0) return step;
      return absl::StrCat(CollapsedText(event.collapsed()), step.empty() ? "" : "\n", step);
    }
    case WatchJobResponse::kCheckpoint:
      return absl::StrCat("checkpoint step ", event.checkpoint().step(), "  ",
                          ShortBytes(event.checkpoint().size_bytes()));
    case WatchJobResponse::kEvaluation:
      return absl::StrCat("evaluation step ", event.evaluation().step(), "  ",
                          EvaluationText(event.evaluation()));
    case WatchJobResponse::kSample:
      return absl::StrCat("sample step ", event.sample().step(), "  ",
                          SampleText(event.sample(), kAnswerColumns));
    case WatchJobResponse::kWarning:
      return absl::StrCat("warning ", Printable(event.warning()));
    case WatchJobResponse::kRolledBackToStep:
      return absl::StrCat("rolled back to step ", event.rolled_back_to_step(),
                          "; later steps are repeated");
    default:
      return "";
  }
}

}  // namespace ftd

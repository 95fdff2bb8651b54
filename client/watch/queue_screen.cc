#include "client/watch/queue_screen.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/text/names.h"
#include "client/text/progress_text.h"
#include "client/text/text.h"
#include "client/text/times.h"

namespace ftd {
namespace {

using ftd::v1::Job;
using ftd::v1::WatchQueueResponse;
using Lines = std::vector<StyledLine>;

// A cell of a table. The columns are as wide as their widest cells.
struct Cell {
  Ink ink = Ink::kPlain;
  std::string text;
};

// "1 running, 3 queued, 1 held".
std::string Counts(const WatchQueueResponse& queue) {
  std::string text =
      absl::StrCat(queue.running_size(), " running, ", queue.queued_total(), " queued");
  if (queue.held_total() > 0) absl::StrAppend(&text, ", ", queue.held_total(), " held");
  if (queue.paused_total() > 0) absl::StrAppend(&text, ", ", queue.paused_total(), " paused");
  return text;
}

StyledLine Head(const WatchQueueResponse& queue) {
  StyledLine line;
  line.Add(Ink::kBold, Counts(queue));
  line.Add(Ink::kDim, absl::StrCat("   ", LocalTime(queue.time())));
  return line;
}

Lines Device(const WatchQueueResponse& queue, bool unicode) {
  Lines lines;
  for (const auto& gpu : queue.gpus()) lines.push_back(GpuLine(gpu, unicode));
  if (queue.gpus_size() > 0 && queue.device() == "cuda") return lines;
  lines.emplace_back().Add(Ink::kBold, queue.device() == "cuda" ? "GPU" : "CPU");
  if (queue.device() == "cuda") lines.back().Add(Ink::kDim, "   its figures are not available");
  return lines;
}

// The job, how far it is, and what its last step measured.
Lines Running(const WatchQueueResponse::RunningJob& running, double now, const ScreenStyle& style) {
  const Job& job = running.job();
  Lines lines;
  StyledLine& title = lines.emplace_back();
  title.Add(Ink::kBold, JobHandle(job));
  title.Add("   ");
  title.Add(StateInk(job.state()), StateName(job.state()));
  const std::string phase = PhaseName(job.progress().phase());
  if (!phase.empty()) title.Add(absl::StrCat("   ", phase));
  if (job.has_start_time())
    title.Add(Ink::kDim, absl::StrCat("   ", ShortDuration(now - Seconds(job.start_time()))));
  title.Add(absl::StrCat("   ", ModeName(job.spec().mode()), " on ", ModelName(job.spec())));

  const auto& step = job.last_step();
  const int64_t planned = StepsPlanned(job);
  if (job.has_last_step() && planned > 0) {
    const double share = static_cast<double>(step.step()) / static_cast<double>(planned);
    std::string text =
        absl::StrCat("step ", step.step(), "/", planned, "  ", Fixed(100 * share, 0), "%");
    if (running.has_eta_seconds())
      absl::StrAppend(&text, "  ETA ", ShortDuration(running.eta_seconds()));
    lines.push_back(BarLine(share, text, style));
  } else if (const auto& progress = job.progress(); progress.total() > 0) {
    lines.push_back(
        BarLine(static_cast<double>(progress.done()) / static_cast<double>(progress.total()),
                ProgressText(progress), style));
  }
  if (job.has_last_step()) {
    StyledLine& metrics = lines.emplace_back();
    metrics.Add(Ink::kDim, "loss ");
    metrics.Add(Ink::kBold, Fixed(step.loss(), 4));
    metrics.Add(absl::StrCat("   ", Fixed(step.tokens_per_second(), 0)));
    metrics.Add(Ink::kDim, " tok/s");
  }
  return lines;
}

// Rows of equal length as lines of aligned cells, each cut to two fifths of the screen. A column
// without text is left out, and no line ends with blanks.
Lines Aligned(std::vector<std::vector<Cell>> rows, const ScreenStyle& style) {
  const int widest = std::max(12, style.columns * 2 / 5);
  std::vector<int> widths;
  for (auto& row : rows) {
    widths.resize(row.size());
    for (size_t i = 0; i < row.size(); ++i) {
      row[i].text = Shorten(Printable(row[i].text), widest, style.unicode);
      widths[i] = std::max(widths[i], DisplayWidth(row[i].text));
    }
  }
  Lines lines;
  for (const auto& row : rows) {
    StyledLine& line = lines.emplace_back();
    int column = 0;  // where the next cell belongs
    for (size_t i = 0; i < row.size(); ++i) {
      if (!row[i].text.empty()) {
        line.Add(std::string(column - line.width(), ' '));
        line.Add(row[i].ink, row[i].text);
      }
      if (widths[i] > 0) column += widths[i] + 2;
    }
  }
  return lines;
}

Lines Queued(const WatchQueueResponse& queue, double now, const ScreenStyle& style) {
  std::vector<std::vector<Cell>> rows;
  for (const Job& job : queue.queued()) {
    const bool waits =
        job.pending_reason() == Job::BACKOFF || job.pending_reason() == Job::DISK_RESERVE;
    rows.push_back(
        {{Ink::kDim, absl::StrCat(job.position())},
         {Ink::kBold, JobHandle(job)},
         {Ink::kDim, ShortDuration(now - Seconds(job.create_time()))},
         {Ink::kPlain, job.priority() == 0 ? "" : absl::StrCat("priority ", job.priority())},
         {Ink::kPlain, absl::StrCat(ModeName(job.spec().mode()), " on ", ModelName(job.spec()))},
         {Ink::kPlain, job.owner()},
         {Ink::kWarn, waits ? PendingText(job.pending_reason()) : ""}});
  }
  return Aligned(std::move(rows), style);
}

Lines Ended(const WatchQueueResponse& queue, double now, const ScreenStyle& style) {
  std::vector<std::vector<Cell>> rows;
  for (const Job& job : queue.ended()) {
    const std::string steps =
        job.has_last_step() ? absl::StrCat("step ", job.last_step().step()) : "";
    const std::string loss =
        job.has_last_step() ? absl::StrCat("loss ", Fixed(job.last_step().loss(), 4)) : "";
    rows.push_back({{Ink::kBold, JobHandle(job)},
                    {StateInk(job.state()), StateName(job.state())},
                    {Ink::kDim, absl::StrCat(ShortDuration(now - Seconds(job.end_time())), " ago")},
                    {Ink::kPlain, steps},
                    {Ink::kPlain, loss},
                    {Ink::kBad, FailureName(job.failure_reason())}});
  }
  return Aligned(std::move(rows), style);
}

// The first of `lines` in `room` rows, the last of which counts those that are left out. `total`
// may be more than there are lines.
Lines Shortened(Lines lines, int64_t total, int room) {
  const auto most = static_cast<size_t>(std::max(1, room));
  if (total <= static_cast<int64_t>(lines.size()) && lines.size() <= most) return lines;
  lines.resize(std::min(lines.size(), most - 1));
  lines.emplace_back().Add(
      Ink::kDim, absl::StrCat("and ", total - static_cast<int64_t>(lines.size()) + 1, " more"));
  return lines;
}

void Append(const Lines& part, Lines* lines) {
  lines->insert(lines->end(), part.begin(), part.end());
}

Lines Section(const char* title, const Lines& rows) {
  Lines lines(1);
  lines.emplace_back().Add(Ink::kDim, title);
  Append(rows, &lines);
  return lines;
}

// The device and what it does.
Lines Now(const WatchQueueResponse& queue, bool lost, double now, const ScreenStyle& style) {
  Lines lines = {Head(queue)};
  if (lost) {
    lines.emplace_back().Add(Ink::kWarn, "no contact to ftd, trying again; jobs are not affected");
  }
  if (queue.has_drain()) {
    const auto& drain = queue.drain();
    const std::string text = DrainText(drain.owner(), drain.time(), drain.message());
    lines.emplace_back().Add(Ink::kWarn, absl::StrCat("The queue is ", Printable(text)));
  }
  Append(Device(queue, style.unicode), &lines);
  for (const auto& running : queue.running()) {
    lines.emplace_back();
    Append(Running(running, now, style), &lines);
  }
  if (queue.running_size() + queue.queued_size() == 0) {
    lines.emplace_back();
    lines.emplace_back().Add("No job runs or waits. `ftctl submit` queues one.");
  }
  return lines;
}

}  // namespace

std::vector<std::string> RenderQueueScreen(const WatchQueueResponse& queue, bool lost,
                                           const std::string& hint, const ScreenStyle& style) {
  constexpr int kLeastQueued = 5;  // with its title
  const double now = Seconds(queue.time());
  Lines lines = Now(queue, lost, now, style);
  int room = style.rows - static_cast<int>(lines.size());
  const int kept = queue.queued_size() > 0 ? kLeastQueued : 0;
  Lines end;
  const auto add_if_it_fits = [&](const Lines& part) {
    if (room < kept + static_cast<int>(part.size())) return;
    room -= static_cast<int>(part.size());
    Append(part, &end);
  };
  if (queue.ended_size() > 0) add_if_it_fits(Section("ended", Ended(queue, now, style)));
  if (!hint.empty()) {
    Lines hints(2);
    hints.back().Add(Ink::kDim, hint);
    add_if_it_fits(hints);
  }
  if (queue.queued_size() > 0) {
    Append(Section("queued", Shortened(Queued(queue, now, style), queue.queued_total(), room - 2)),
           &lines);
  }
  Append(end, &lines);
  return RenderLines(lines, style);
}

}  // namespace ftd

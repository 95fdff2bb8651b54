#include "client/watch/job_views.h"

#include <algorithm>
#include <csignal>
#include <iostream>
#include <optional>

#include "client/base/exit_codes.h"
#include "client/rpc/queue_follower.h"
#include "client/text/times.h"
#include "client/watch/terminal.h"
#include "client/watch/watch_lines.h"
#include "client/watch/watch_screen.h"

namespace ftd {
namespace {

using std::chrono::steady_clock;

// One line per event on stdout; what concerns the connection goes to stderr.
class LineView : public JobView {
 public:
  void Show(const WatchState& state, const FollowItem& item) override {
    switch (item.kind) {
      case FollowItem::kEvent:
        if (const std::string line = WatchLine(state, item.event); !line.empty())
          std::cout << line << '\n';
        break;
      case FollowItem::kLost:
        ReportLost(std::string(item.status.message()));
        break;
      case FollowItem::kRegained:
        ReportRegained();
        break;
      case FollowItem::kEnd:
        break;
    }
  }

  void Tick(const WatchState& /*state*/) override { std::cout << std::flush; }
};

// Redraws the whole screen: a frame is a function of the state and the time.
class JobScreen : public JobView {
 public:
  JobScreen(Connection& connection, const std::string& ctrl_c)
      : ctrl_c_(ctrl_c), queue_(connection, {}) {
    screen_.emplace();
  }

  // The last frame is printed once more on the normal screen, so that it stays in the scrollback.
  ~JobScreen() override {
    screen_.reset();
    PrintLines(shown_);
  }

  void Show(const WatchState& state, const FollowItem& item) override {
    // Frames are drawn by Tick; only the last one needs to be exact.
    if (item.kind == FollowItem::kEnd) Render(state);
  }

  void Tick(const WatchState& state) override {
    // Ten frames a second at most, however many steps come, and a tenth of the time: the chart of a
    // million of them takes a while.
    constexpr steady_clock::duration kFrame = std::chrono::milliseconds(100);
    const auto begin = steady_clock::now();
    if (begin < next_frame_) return;
    LookAtGpus();
    Render(state);
    screen_->Draw(shown_);
    next_frame_ = begin + std::max(kFrame, 10 * (steady_clock::now() - begin));
  }

  void Suspend() override {
    // The terminal is given back before the stop, and taken again after SIGCONT.
    screen_.reset();
    raise(SIGSTOP);
    screen_.emplace();
  }

 private:
  // Without an answer, as from an older ftd, the screen has no GPUs.
  void LookAtGpus() {
    for (const QueueItem& item : queue_.Take())
      gpus_ = item.event.device() == "cuda" ? item.event.gpus() : Gpus();
  }

  void Render(const WatchState& state) {
    const bool trains = !IsFinal(state.job().state());
    shown_ =
        RenderWatchScreen(state, trains ? gpus_ : Gpus(), TerminalStyle(), NowSeconds(), ctrl_c_);
  }

  const std::string ctrl_c_;
  QueueFollower queue_;
  Gpus gpus_;
  std::optional<FullScreen> screen_;
  std::vector<std::string> shown_;
  steady_clock::time_point next_frame_;
};

}  // namespace

std::unique_ptr<JobView> MakeWatchView(Connection& connection, const std::string& ctrl_c) {
  if (StdoutIsTerminal()) return std::make_unique<JobScreen>(connection, ctrl_c);
  return std::make_unique<LineView>();
}

int WatchToEnd(Connection& connection, const ftd::v1::Job& job, Signals& signals) {
  auto view = MakeWatchView(connection);
  const FollowOutcome outcome = FollowJob(connection, job, *view, signals);
  view.reset();  // the terminal is the shell's again
  return ReportOutcome(outcome);
}

}  // namespace ftd

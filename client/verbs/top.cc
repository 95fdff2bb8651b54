// ftctl top: the queue and the device, live.
#include <poll.h>
#include <unistd.h>

#include <csignal>
#include <cstring>
#include <memory>
#include <optional>

#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/queue_follower.h"
#include "client/text/json_output.h"
#include "client/watch/follow.h"
#include "client/watch/queue_screen.h"
#include "client/watch/terminal.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

using ftd::v1::WatchQueueRequest;
using ftd::v1::WatchQueueResponse;

absl::StatusOr<WatchQueueResponse> TakeOne(Connection& connection,
                                           const WatchQueueRequest& request) {
  WatchQueueResponse queue;
  const absl::Status status = connection.Retry([&] {
    grpc::ClientContext context;
    const auto reader = connection.stub().WatchQueue(&context, request);
    if (!reader->Read(&queue)) return reader->Finish();
    context.TryCancel();
    reader->Finish();
    return grpc::Status::OK;
  });
  if (!status.ok()) return status;
  return queue;
}

// Shows snapshots as they come.
class QueueView {
 public:
  virtual ~QueueView() = default;
  virtual void Show(const WatchQueueResponse& queue) = 0;
  // The link to ftd broke (why), or is there again ("").
  virtual void SetLost(const std::string& why) = 0;
  // All that waited is shown. Also called some five times a second.
  virtual void Tick() {}
  // Ctrl-Z: leave the terminal as it was found, stop the process, come back.
  virtual void Suspend() {}
  // Where keys that are typed can be read; -1: nowhere.
  virtual int keys() const { return -1; }
};

void PrintJson(const WatchQueueResponse& queue) { PrintStructured(ToJson(queue), "jsonl"); }

class JsonView : public QueueView {
 public:
  void Show(const WatchQueueResponse& queue) override { PrintJson(queue); }
  void SetLost(const std::string& why) override {
    why.empty() ? ReportRegained() : ReportLost(why);
  }
};

// Takes the terminal until it is destroyed, and leaves its last picture behind.
class QueueScreen : public QueueView {
 public:
  explicit QueueScreen(const WatchQueueResponse& queue) : queue_(queue) { screen_.emplace(); }
  ~QueueScreen() override {
    screen_.reset();
    PrintLines(RenderQueueScreen(queue_, lost_, "", TerminalStyle()));
  }

  void Show(const WatchQueueResponse& queue) override { queue_ = queue; }
  void SetLost(const std::string& why) override { lost_ = !why.empty(); }
  void Tick() override {
    const char* hint =
        keys() < 0 ? "Ctrl-C leaves; jobs are not affected" : "q leaves; jobs are not affected";
    screen_->Draw(RenderQueueScreen(queue_, lost_, hint, TerminalStyle()));
  }
  void Suspend() override {
    screen_.reset();
    raise(SIGSTOP);
    screen_.emplace();
  }
  int keys() const override { return screen_->keys(); }

 private:
  std::optional<FullScreen> screen_;
  WatchQueueResponse queue_;
  bool lost_ = false;
};

// A whole snapshot at once, not cut to a screen's height.
void PrintOnce(const WatchQueueResponse& queue) {
  ScreenStyle style = TerminalStyle();
  constexpr int kUncut = 100000;
  style.rows = kUncut;
  if (!StdoutIsTerminal()) {
    style.columns = kUncut;
    style.color = false;
  }
  PrintLines(RenderQueueScreen(queue, false, "", style));
}

// Whether a q was typed, or no key will be any more.
bool TypedQuit(int keys) {
  char typed[64];
  const ssize_t count = read(keys, typed, sizeof typed);
  return count <= 0 || memchr(typed, 'q', static_cast<size_t>(count)) != nullptr;
}

// Shows what waits. The status of the last item's end, if it is among them.
std::optional<absl::Status> ShowItems(QueueFollower& follower, QueueView& view) {
  std::optional<absl::Status> end;
  for (const QueueItem& item : follower.Take()) {
    if (item.kind == QueueItem::kEvent) view.Show(item.event);
    if (item.kind == QueueItem::kLost) view.SetLost(std::string(item.status.message()));
    if (item.kind == QueueItem::kRegained) view.SetLost("");
    if (item.kind == QueueItem::kEnd) end = item.status;
  }
  view.Tick();
  return end;
}

// Runs until somebody ends it. Returns the signal, 0 for a q, or the error that ended the stream.
absl::StatusOr<int> FollowQueue(Connection& connection, const WatchQueueRequest& request,
                                QueueView& view, Signals& signals) {
  constexpr int kTickMs = 200;
  QueueFollower follower(connection, request);
  while (true) {
    if (const auto end = ShowItems(follower, view)) return *end;
    pollfd inputs[] = {
        {follower.fd(), POLLIN, 0}, {signals.fd(), POLLIN, 0}, {view.keys(), POLLIN, 0}};
    poll(inputs, std::size(inputs), kTickMs);
    if (inputs[2].revents != 0 && TypedQuit(view.keys())) return 0;
    const int signal = signals.Take();
    if (signal == SIGTSTP) view.Suspend();
    if (signal != 0 && signal != SIGTSTP && signal != SIGWINCH) return signal;
  }
}

int ShowOnce(const ServerAddress& address, const WatchQueueRequest& request, bool json) {
  auto connection = Connect(address);
  if (!connection.ok()) return Fail(connection.status());
  const auto queue = TakeOne(**connection, request);
  if (!queue.ok()) return Fail(queue.status());
  json ? PrintJson(*queue) : PrintOnce(*queue);
  return kExitOk;
}

int ShowLive(const ServerAddress& address, const WatchQueueRequest& request, bool json) {
  Signals signals = FollowSignals(!json);
  auto connection = Connect(address);
  if (!connection.ok()) return Fail(connection.status());
  // Who is not served shall hear it before the screen is taken.
  const auto first = TakeOne(**connection, request);
  if (!first.ok()) return Fail(first.status());
  std::unique_ptr<QueueView> view;
  if (json) {
    view = std::make_unique<JsonView>();
  } else {
    view = std::make_unique<QueueScreen>(*first);
  }
  const auto end = FollowQueue(**connection, request, *view, signals);
  view.reset();  // the terminal is the shell's again
  if (!end.ok()) return Fail(end.status());
  return *end == 0 ? kExitOk : 128 + *end;
}

}  // namespace

int TopVerb(const Invocation& call) {
  WatchQueueRequest request;
  bool once = false;
  std::string output = "table";
  Flags flags(
      call, "top",
      "Show the queue and the device: a live screen on a terminal, else one snapshot.\n"
      "q or Ctrl-C ends it; jobs are not affected.",
      "  ftctl top\n  ftctl top --once\n  ftctl top --json | jq '.running[0].eta_seconds'\n");
  flags.Int32("-n,--interval", "Seconds between two snapshots while nothing changes [2]",
              [&](int32_t value) { request.set_interval_seconds(value); });
  flags.Switch("--once", "Print one snapshot and end", &once);
  flags.Choice("-o,--output", "Format; json: an object on a line for each snapshot [table]",
               {"table", "json"}, &output);
  flags.Switch("--json", "The same as -o json", [&](bool on) { output = on ? "json" : "table"; });
  if (const auto code = flags.Parse()) return *code;
  const bool json = output == "json";
  const bool live = !once && (json || StdoutIsTerminal());
  return live ? ShowLive(flags.address(), request, json) : ShowOnce(flags.address(), request, json);
}

}  // namespace ftd

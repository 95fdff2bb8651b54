// ftctl chat: a conversation with a result or a model.
#include <poll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <iostream>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "client/base/exit_codes.h"
#include "client/base/signals.h"
#include "client/command/answer_flags.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/answer.h"
#include "client/rpc/connection.h"
#include "client/text/text.h"
#include "client/watch/terminal.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using nlohmann::ordered_json;

// Reads lines from stdin; a signal ends the wait.
class LineReader {
 public:
  explicit LineReader(Signals& signals) : signals_(signals) {}

  // Returns the next line without its end; none at the end of the input, or when a signal has come.
  std::optional<std::string> Next() {
    for (;;) {
      if (const size_t end = unread_.find('\n'); end != std::string::npos) {
        std::string line = unread_.substr(0, end);
        unread_.erase(0, end + 1);
        return line;
      }
      pollfd polled[] = {{.fd = STDIN_FILENO, .events = POLLIN, .revents = 0},
                         {.fd = signals_.fd(), .events = POLLIN, .revents = 0}};
      if (::poll(polled, 2, -1) < 0 && errno != EINTR) return std::nullopt;
      if (polled[1].revents != 0) return std::nullopt;
      char buffer[4096];
      const ssize_t n = ::read(STDIN_FILENO, buffer, sizeof buffer);
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) return unread_.empty() ? std::nullopt : std::optional(std::exchange(unread_, ""));
      unread_.append(buffer, static_cast<size_t>(n));
    }
  }

 private:
  Signals& signals_;
  std::string unread_;
};

// Cancels a call when a signal comes, as long as it lives.
class CancelOnSignal {
 public:
  CancelOnSignal(Signals& signals, grpc::ClientContext& context)
      : over_(::eventfd(0, EFD_CLOEXEC)), thread_([this, &signals, &context] {
          pollfd polled[] = {{.fd = over_.get(), .events = POLLIN, .revents = 0},
                             {.fd = signals.fd(), .events = POLLIN, .revents = 0}};
          while (::poll(polled, 2, -1) < 0 && errno == EINTR) {
          }
          if (polled[1].revents == 0) return;
          signals.Take();
          context.TryCancel();
        }) {}
  ~CancelOnSignal() {
    ::eventfd_write(over_.get(), 1);
    thread_.join();
  }

 private:
  const Fd over_;
  std::thread thread_;
};

class Chat {
 public:
  Chat(Connection& connection, Signals& signals, v1::GenerateRequest request,
       const std::string& system)
      : connection_(connection), signals_(signals), request_(std::move(request)), system_(system) {
    Begin();
  }

  // Talks until the input ends.
  absl::Status Run() {
    const bool terminal = isatty(STDIN_FILENO) == 1 && StderrIsTerminal();
    LineReader lines(signals_);
    for (;;) {
      if (terminal) std::cerr << "> " << std::flush;
      const auto line = lines.Next();
      if (!line.has_value()) {
        if (terminal) std::cerr << std::endl;
        return absl::OkStatus();
      }
      const std::string said(absl::StripAsciiWhitespace(*line));
      if (said == "/quit") return absl::OkStatus();
      if (said == "/new") {
        Begin();
      } else if (!said.empty()) {
        FTD_RETURN_IF_ERROR(Say(*line));
      }
    }
  }

 private:
  void Begin() {
    messages_ = ordered_json::array();
    if (!system_.empty()) messages_.push_back({{"role", "system"}, {"content", system_}});
  }

  // What a Ctrl-C cuts off stays in the history, as it stays on the screen. A question that could
  // not be answered does not.
  absl::Status Say(const std::string& line) {
    messages_.push_back({{"role", "user"}, {"content", line}});
    request_.set_messages_json(
        messages_.dump(-1, ' ', false, ordered_json::error_handler_t::replace));
    Answer answer;
    const absl::Status status = AskNow(&answer);
    std::cout << std::endl;
    if (status.ok() || absl::IsCancelled(status)) {
      messages_.push_back({{"role", "assistant"}, {"content", answer.text}});
      return absl::OkStatus();
    }
    messages_.erase(messages_.size() - 1);
    // A job took the GPU, or the conversation has become too long: the next question may do.
    const bool may_continue =
        ReasonOf(status) == Reason::kGenerationEnded || ReasonOf(status) == Reason::kFieldInvalid;
    if (!may_continue || isatty(STDIN_FILENO) != 1) return status;
    std::cerr << "ftctl: " << Printable(std::string(status.message())) << std::endl;
    return absl::OkStatus();
  }

  absl::Status AskNow(Answer* answer) {
    grpc::ClientContext context;
    const CancelOnSignal cancel(signals_, context);
    const bool terminal = StdoutIsTerminal();
    return Ask(
        connection_, context, request_,
        {.on_text =
             [&](std::string_view text) {
               std::cout << (terminal ? PrintableLines(text) : std::string(text)) << std::flush;
             },
         .on_loading =
             [&](std::string_view device) {
               if (!StderrIsTerminal()) return;
               std::cerr << "loading on " << (device == "cpu" ? "the CPU" : "the GPU") << std::endl;
             }},
        answer);
  }

  Connection& connection_;
  Signals& signals_;
  v1::GenerateRequest request_;
  const std::string system_;
  ordered_json messages_;
};

}  // namespace

int ChatVerb(const Invocation& call) {
  std::string name, system;
  v1::GenerateRequest request;
  Flags flags(
      call, "chat",
      "Talk with a job's result or with a model, by the model's chat template. Ctrl-C stops "
      "an answer, and at the prompt ends\nthe chat; /new begins another conversation, "
      "/quit ends it.",
      "  ftctl chat first\n  ftctl chat first --base --system \"Answer in one sentence.\"\n"
      "  ftctl chat qwen3-0.6b --temperature 0.7\n");
  flags.Positional("NAME", "A job, by id or name; or a model", &name, "JOB|MODEL");
  flags.Text("--system", "What the conversation begins with, as the system's message", &system);
  flags.Switch("--base", "Talk with the model that the job began with",
               [&](bool value) { request.set_base(value); });
  AddAnswerFlags(flags, &request);
  if (const auto code = flags.Parse()) return *code;
  Signals signals({SIGINT});  // before gRPC's threads
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  absl::Status status = SetSource(**connection, name, request);
  if (status.ok()) status = Chat(**connection, signals, std::move(request), system).Run();
  return status.ok() ? kExitOk : Fail(status);
}

}  // namespace ftd

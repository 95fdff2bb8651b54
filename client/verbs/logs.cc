// ftctl logs: the worker's own output.
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <iostream>
#include <string>
#include <string_view>

#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/text.h"
#include "lib/base/utf8.h"

namespace ftd {

namespace {

// Prints a log as it comes. A file or a program gets the bytes as they are; a terminal must not
// obey what a worker, or the data it quotes, has written.
class LogPrinter {
 public:
  ~LogPrinter() { std::cout << PrintableLines(rest_) << std::flush; }
  void Print(const std::string& bytes) {
    if (!terminal_) {
      std::cout << bytes << std::flush;
      return;
    }
    rest_ += bytes;
    const size_t whole = WholeCharacters(rest_);
    std::cout << PrintableLines(std::string_view(rest_).substr(0, whole)) << std::flush;
    rest_.erase(0, whole);
  }

 private:
  // Returns the bytes before a character at the end whose rest has not come yet.
  static size_t WholeCharacters(std::string_view text) {
    for (size_t begin = text.size(); begin > 0 && begin + 4 > text.size();) {
      const auto byte = static_cast<unsigned char>(text[--begin]);
      if ((byte & 0xC0) == 0x80) continue;
      return begin + Utf8Length(byte) > text.size() ? begin : text.size();
    }
    return text.size();
  }

  const bool terminal_ = isatty(STDOUT_FILENO) == 1;
  std::string rest_;
};

}  // namespace

int LogsVerb(const Invocation& call) {
  ftd::v1::TailLogRequest request;
  std::string job;
  Flags flags(call, "logs", "Print what the worker of a job wrote.",
              "  ftctl logs first -n 50\n  ftctl logs first -f\n");
  flags.Positional("JOB", "Id or name", &job);
  flags.Int64("-n,--lines", "The last LINES lines [all]",
              [&](int64_t value) { request.set_lines(value); });
  flags.Int32("--attempt", "Of this attempt [the newest]",
              [&](int32_t value) { request.set_attempt(value); });
  flags.Switch("-f,--follow", "Keep printing until the job ends",
               [&](bool value) { request.set_follow(value); });
  if (const auto code = flags.Parse()) return *code;
  request.set_job(job);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  grpc::ClientContext context;
  auto reader = (*connection)->stub().TailLog(&context, request);
  ftd::v1::TailLogResponse response;
  {
    LogPrinter printer;
    while (reader->Read(&response)) printer.Print(response.data());
  }
  const absl::Status status = (*connection)->ToStatus(reader->Finish());
  return status.ok() ? kExitOk : Fail(status);
}

}  // namespace ftd

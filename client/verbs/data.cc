// ftctl data: what a job's rows are, before there is a job.
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <string>

#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/sub_verbs.h"
#include "client/command/submission.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/task_stream.h"
#include "client/text/json_output.h"
#include "client/text/text.h"
#include "client/watch/data_report.h"
#include "client/watch/terminal.h"
#include "lib/base/error.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

constexpr const char* kDataExamples =
    "  ftctl data check rows.jsonl --model llama3.1-8b\n"
    "  ftctl data check chat.jsonl --model qwen3-0.6b --seq-length 4096 --train-on last\n"
    "  ftctl data check tatsu-lab/alpaca --model llama3.1-8b -o json | jq "
    ".report.tokens_per_epoch\n";

// Warnings go to stderr, as those of a job that is watched do.
int Print(const ftd::v1::CheckDataResponse& response, const std::string& output) {
  if (output != "text") {
    auto json = ToJson(response);
    json.erase("progress");
    PrintStructured(json, output);
    return kExitOk;
  }
  PrintDataReport(response.report());
  for (const std::string& warning : response.warnings())
    std::cerr << "warning: " << Printable(warning) << std::endl;
  return kExitOk;
}

int Check(const Invocation& call) {
  SubmitFlags submit{.default_mode = ftd::v1::JobSpec::LORA};
  std::string file;
  std::string output = "text";
  Flags flags(
      call, "data check",
      "Read all rows as a job would, and show what they are: how many are used, cut or left "
      "out, their lengths, what is learned of them. Queues nothing; the tokens are kept for "
      "the job.",
      kDataExamples);
  flags.Positional("FILE", "The rows, as --dataset takes them", &file, "PATH",
                   /*required=*/false);
  AddSubmitFlags(flags, &submit);
  flags.Choice("-o,--output", "Format [text]", {"text", "json", "yaml"}, &output);
  if (const auto code = flags.Parse()) return *code;
  if (!file.empty() && !submit.dataset.empty()) {
    return Fail(
        Error(Reason::kUsage, "the rows are given twice, as FILE and as --dataset; leave one out"));
  }
  if (!file.empty()) submit.dataset = file;
  auto connection = ConnectWithRows(flags.address(), &submit);
  if (!connection.ok()) return Fail(connection.status());
  ftd::v1::CheckDataRequest request;
  *request.mutable_spec() = submit.request.spec();
  grpc::ClientContext context;
  auto reader = (*connection)->stub().CheckData(&context, request);
  const auto response = LastOf(**connection, *reader, StderrIsTerminal());
  if (!response.ok()) return Fail(response.status());
  return Print(*response, output);
}

constexpr Verb kDataVerbs[] = {{"check", "Show what the rows of a job would be", Check}};

}  // namespace

int DataVerb(const Invocation& call) { return RunSubVerb(call, "data", kDataVerbs); }

}  // namespace ftd

// ftctl estimate: what a job would need, and how long it would take, before there is one.
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/submission.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/task_stream.h"
#include "client/text/json_output.h"
#include "client/text/names.h"
#include "client/text/plan_text.h"
#include "client/text/table.h"
#include "client/text/text.h"
#include "client/text/times.h"
#include "client/watch/terminal.h"
#include "lib/base/error.h"
#include "lib/base/short_bytes.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

using ftd::v1::Estimate;

constexpr const char* kEstimateExamples =
    "  ftctl estimate --mode lora --model llama3.1-8b --dataset rows.jsonl\n"
    "  ftctl estimate --mode full --model llama3.2-3b --dataset rows.jsonl --seq-length 8192\n"
    "  ftctl estimate --mode qlora --model llama3.1-70b -o json | jq .plan.memory\n";

std::string StartText(const Estimate& estimate) {
  if (estimate.jobs_ahead() == 0) return "at once";
  const std::string jobs =
      estimate.jobs_ahead() == 1 ? "1 job" : absl::StrCat(estimate.jobs_ahead(), " jobs");
  return estimate.has_start_time()
             ? absl::StrCat("about ", LocalTime(estimate.start_time()), ", after ", jobs)
             : absl::StrCat("after ", jobs, ", at a time that is not known yet");
}

// "8 rows in as few parts as fit; one row, with all layers recomputed, takes 1.1 GB in all"
std::string AutoBatchText(const Estimate& estimate) {
  if (!estimate.spec().auto_batch_size()) return "";
  return absl::StrCat(estimate.spec().batch_size(),
                      " rows in as few parts as fit; one row, with all layers recomputed, takes ",
                      ShortBytes(LeastBytes(estimate.plan().memory())), " in all");
}

void PrintEstimate(const Estimate& estimate) {
  std::vector<std::pair<std::string, std::string>> lines = {
      {"mode", ModeName(estimate.spec().mode())}, {"model", estimate.spec().model()}};
  for (auto& line : PlanSummary(estimate.plan())) lines.push_back(std::move(line));
  lines.emplace_back("micro-batch", AutoBatchText(estimate));
  lines.emplace_back("would start", StartText(estimate));
  const ScreenStyle style = StdoutStyle();
  std::cout << KeyValues(lines) << "\n";
  for (const StyledLine& line : MemoryBars(estimate.plan().memory(), style.columns, style.unicode))
    std::cout << line.Render(style.columns, style.color, style.unicode) << "\n";
  std::cout << std::flush;
}

// Warnings go to stderr, as those of a job that is watched do.
int Print(const Estimate& estimate, const std::string& output) {
  if (output == "text") {
    PrintEstimate(estimate);
    for (const std::string& warning : estimate.warnings())
      std::cerr << "warning: " << Printable(warning) << std::endl;
  } else {
    PrintStructured(ToJson(estimate), output);
  }
  return estimate.plan().does_not_fit().empty() ? kExitOk : kExitRefused;
}

}  // namespace

int EstimateVerb(const Invocation& call) {
  SubmitFlags submit;
  std::string output = "text";
  Flags flags(call, "estimate",
              "Tell what a job would do and need, by part: steps, memory, disk, time, and when it "
              "would start. Queues nothing; a model on the hub is not fetched. Exit code 1: it "
              "does not fit.",
              kEstimateExamples);
  AddSubmitFlags(flags, &submit);
  flags.Choice("-o,--output", "Format [text]", {"text", "json", "yaml"}, &output);
  if (const auto code = flags.Parse()) return *code;
  auto connection = ConnectWithRows(flags.address(), &submit);
  if (!connection.ok()) return Fail(connection.status());
  ftd::v1::EstimateJobRequest request;
  *request.mutable_spec() = submit.request.spec();
  grpc::ClientContext context;
  auto reader = (*connection)->stub().EstimateJob(&context, request);
  const auto response = LastOf(**connection, *reader, StderrIsTerminal());
  if (!response.ok()) return Fail(response.status());
  return Print(response->estimate(), output);
}

}  // namespace ftd

// ftctl metrics: the recorded steps of a job.
#include <grpcpp/grpcpp.h>

#include <iostream>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/table.h"
#include "client/text/text.h"
#include "lib/runlog/step_metrics.h"

namespace ftd {
namespace {

using ftd::v1::Evaluation;
using ftd::v1::StepMetrics;
using nlohmann::ordered_json;

// The column of evaluations comes after the one of this metric.
constexpr std::string_view kEvaluated = "loss";

// Columns of the table of metrics, and the evaluation's.
std::vector<std::string> TableHead() {
  std::vector<std::string> head;
  for (const StepMetric& metric : StepMetricsTable()) {
    if (metric.table.before != nullptr) head.emplace_back(metric.table.before);
    if (metric.name == kEvaluated) head.emplace_back("EVAL_LOSS");
  }
  return head;
}

// A cell for each column of TableHead, in the same order.
std::vector<std::string> TableRow(const StepMetrics& step, const Evaluation* evaluation) {
  std::vector<std::string> row;
  for (const StepMetric& metric : StepMetricsTable()) {
    const std::string text = Text(metric.table, ValueIn(step, metric));
    if (metric.table.before != nullptr)
      row.push_back(text.empty() ? "" : text + metric.table.after);
    if (metric.name == kEvaluated)
      row.push_back(evaluation == nullptr ? "" : Fixed(evaluation->loss(), 4));
  }
  return row;
}

// Prints steps as they come, where the format allows: a long job has many. A table needs all rows
// for its widths, and JSON a closing bracket.
class StepPrinter {
 public:
  explicit StepPrinter(std::string format) : format_(std::move(format)) {}

  // `evaluation`: the one that followed the step, or null.
  void Add(const StepMetrics& step, const Evaluation* evaluation) {
    if (format_ == "table") {
      rows_.push_back(TableRow(step, evaluation));
      return;
    }
    ordered_json json = StepJson(step, evaluation);
    if (format_ == "csv") {  // every line has every column
      for (const char* column : kEvaluationKeys)
        if (!json.contains(column)) json[column] = nullptr;
    }
    if (format_ == "csv" && count_ == 0) std::cout << Csv(json, true);
    if (format_ == "csv") std::cout << Csv(json, false);
    if (format_ == "jsonl") std::cout << json.dump() << "\n";
    if (format_ == "json") std::cout << (count_ == 0 ? "[\n  " : ",\n  ") << json.dump();
    ++count_;
  }

  void Finish() {
    if (format_ == "json") std::cout << (count_ == 0 ? "[]\n" : "\n]\n");
    if (format_ == "table") {
      std::cout << Table(TableHead(), rows_);
    }
    std::cout << std::flush;
  }

 private:
  static std::string Csv(const ordered_json& json, bool head) {
    std::vector<std::string> cells;
    for (const auto& [key, value] : json.items()) {
      cells.push_back(head                ? key
                      : value.is_null()   ? ""
                      : value.is_string() ? value.get<std::string>()
                                          : value.dump());
    }
    return absl::StrJoin(cells, ",") + "\n";
  }

  std::string format_;
  std::vector<std::vector<std::string>> rows_;
  int64_t count_ = 0;
};

}  // namespace

int MetricsVerb(const Invocation& call) {
  ftd::v1::QueryMetricsRequest request;
  std::string job;
  std::string output = "table";
  Flags flags(call, "metrics", "Print the recorded steps of a job.",
              "  ftctl metrics first -o jsonl | jq .loss\n  ftctl metrics first --max-points 200 "
              "-o csv > first.csv\n");
  flags.Positional("JOB", "Id or name", &job);
  flags.Choice("-o,--output", "Format [table]", {"table", "jsonl", "json", "csv"}, &output);
  flags.Int64("--from-step", "First step wanted",
              [&](int64_t value) { request.set_from_step(value); });
  flags.Int64("--to-step", "Last step wanted", [&](int64_t value) { request.set_to_step(value); });
  flags.Int32("--max-points", "Thin out to this many; extremes of the loss stay [all]",
              [&](int32_t value) { request.set_max_points(value); });
  if (const auto code = flags.Parse()) return *code;
  request.set_job(job);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  StepPrinter printer(output);
  const absl::Status status = (*connection)->Retry([&] {
    // The stream broke after the last step wanted.
    if (request.to_step() > 0 && request.from_step() > request.to_step()) return grpc::Status::OK;
    grpc::ClientContext context;
    auto reader = (*connection)->stub().QueryMetrics(&context, request);
    ftd::v1::QueryMetricsResponse response;
    while (reader->Read(&response)) {
      // Both lists of a message are in the order of steps.
      auto evaluation = response.evaluations().begin();
      for (const StepMetrics& step : response.steps()) {
        const bool evaluated =
            evaluation != response.evaluations().end() && evaluation->step() == step.step();
        printer.Add(step, evaluated ? &*evaluation++ : nullptr);
      }
      // Printed rows cannot be taken back: a repeated call must begin after them.
      if (response.steps_size() > 0)
        request.set_from_step(response.steps(response.steps_size() - 1).step() + 1);
    }
    return reader->Finish();
  });
  if (!status.ok()) return Fail(status);
  printer.Finish();
  return kExitOk;
}

}  // namespace ftd

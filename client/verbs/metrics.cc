// ftctl metrics: the recorded steps of a job.
#include <grpcpp/grpcpp.h>

#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/rpc/connection.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/text/json_output.h"
#include "client/text/table.h"
#include "client/text/text.h"
#include "client/command/verbs.h"

namespace ftd {
namespace {

using ftd::v1::Evaluation;
using ftd::v1::StepMetrics;
using nlohmann::ordered_json;

// A step, and the evaluation that it was followed by, or null.
struct Point {
  const StepMetrics& step;
  const Evaluation* evaluation;
};

// The schema of docs/cli.md.
ordered_json PointJson(const Point& point) {
  const StepMetrics& step = point.step;
  ordered_json json = {{"step", step.step()},
                       {"epoch", JsonNumber(step.epoch())},
                       {"loss", JsonNumber(step.loss())},
                       {"entropy", JsonNumber(step.entropy())},
                       {"mean_token_accuracy", JsonNumber(step.mean_token_accuracy())},
                       {"grad_norm", JsonNumber(step.grad_norm())},
                       {"learning_rate", JsonNumber(step.learning_rate())},
                       {"tokens", step.tokens()},
                       {"tokens_total", step.tokens_total()},
                       {"padding_ratio", JsonNumber(step.padding_ratio())},
                       {"tokens_per_second", JsonNumber(step.tokens_per_second())},
                       {"step_seconds", JsonNumber(step.step_seconds())},
                       {"mfu", step.has_mfu() ? JsonNumber(step.mfu()) : ordered_json(nullptr)}};
  if (point.evaluation != nullptr) {
    json["eval_loss"] = JsonNumber(point.evaluation->loss());
    json["eval_entropy"] = JsonNumber(point.evaluation->entropy());
    json["eval_mean_token_accuracy"] = JsonNumber(point.evaluation->mean_token_accuracy());
  }
  return json;
}

std::vector<std::string> TableRow(const Point& point) {
  const StepMetrics& step = point.step;
  return {absl::StrCat(step.step()),
          Fixed(step.epoch(), 3),
          Fixed(step.loss(), 4),
          point.evaluation == nullptr ? "" : Fixed(point.evaluation->loss(), 4),
          Fixed(step.entropy(), 4),
          Fixed(100 * step.mean_token_accuracy(), 1) + "%",
          Fixed(step.grad_norm(), 3),
          Scientific(step.learning_rate(), 2),
          absl::StrCat(step.tokens()),
          Fixed(100 * step.padding_ratio(), 0) + "%",
          Fixed(step.tokens_per_second(), 0),
          step.has_mfu() ? Fixed(100 * step.mfu(), 1) + "%" : "",
          Fixed(step.step_seconds(), 3)};
}

// Prints steps as they come, where the format allows: a long job has many.
class StepPrinter {
 public:
  explicit StepPrinter(std::string format) : format_(std::move(format)) {}

  void Add(const Point& point) {
    if (format_ == "table") {
      rows_.push_back(TableRow(point));
      return;
    }
    ordered_json json = PointJson(point);
    if (format_ == "csv") {  // every line has every column
      for (const char* column : {"eval_loss", "eval_entropy", "eval_mean_token_accuracy"})
        if (!json.contains(column)) json[column] = "";
      if (json["mfu"].is_null()) json["mfu"] = "";
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
      std::cout << Table({"STEP", "EPOCH", "LOSS", "EVAL_LOSS", "ENTROPY", "ACCURACY", "GRAD_NORM",
                          "LR", "TOKENS", "PADDING", "TOK/S", "MFU", "SECONDS"},
                         rows_);
    }
    std::cout << std::flush;
  }

 private:
  static std::string Csv(const ordered_json& json, bool head) {
    std::vector<std::string> cells;
    for (const auto& [key, value] : json.items()) {
      cells.push_back(head ? key : value.is_string() ? value.get<std::string>() : value.dump());
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
    grpc::ClientContext context;
    auto reader = (*connection)->stub().QueryMetrics(&context, request);
    ftd::v1::QueryMetricsResponse response;
    while (reader->Read(&response)) {
      auto evaluation = response.evaluations().begin();
      for (const StepMetrics& step : response.steps()) {
        const bool evaluated =
            evaluation != response.evaluations().end() && evaluation->step() == step.step();
        printer.Add({step, evaluated ? &*evaluation++ : nullptr});
      }
      // What is printed cannot be taken back: from here on the call must not be repeated from its
      // start.
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

// The tables of docs/ that repeat a table of the code, as one JSON object of Markdown by name.
// doc_tables.py puts them there, and docs_test.py holds the documents to them.
#include <iostream>
#include <string>

#include "absl/strings/str_cat.h"
#include "lib/base/reason.h"
#include "lib/runlog/step_metrics.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

std::string StepKeys() {
  std::string table = "| key | value |\n| --- | --- |\n";
  for (const StepMetric& metric : StepMetricsTable()) {
    if (metric.exported) absl::StrAppend(&table, "| `", metric.name, "` | ", metric.help, " |\n");
  }
  return table;
}

std::string StepSeries() {
  std::string table = "| metric | type | what it says |\n| --- | --- | --- |\n";
  for (const StepMetric& metric : StepMetricsTable()) {
    if (metric.series == StepMetric::Series::kNone) continue;
    const bool gauge = metric.series == StepMetric::Series::kGauge;
    absl::StrAppend(&table, "| `", metric.prometheus, "` | ", gauge ? "gauge" : "counter", " | ",
                    metric.help, " |\n");
  }
  return table;
}

std::string Errors() {
  std::string table =
      "| reason | gRPC code | what to do | `ftctl` exits |\n| --- | --- | --- | --- |\n";
  for (const ReasonRow& row : ReasonTable()) {
    if (!row.api) continue;
    absl::StrAppend(&table, "| ", row.name, " | ", absl::StatusCodeToString(row.code), " | ",
                    row.advice, " | ", row.exit_code, " |\n");
  }
  return table;
}

}  // namespace
}  // namespace ftd

int main() {
  std::cout << nlohmann::ordered_json{{"errors", ftd::Errors()},
                                      {"step_keys", ftd::StepKeys()},
                                      {"step_series", ftd::StepSeries()}}
                   .dump()
            << "\n";
}

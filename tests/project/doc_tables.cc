// The tables of docs/ that repeat a table of the code, as one JSON object of Markdown by name.
// doc_tables.py puts them there, and docs_test.py holds the documents to them. "job_defaults" is
// for the comments of the proto: the defaults by path.
#include <iostream>
#include <string>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "lib/base/reason.h"
#include "lib/runlog/step_metrics.h"
#include "lib/spec/job_fields.h"
#include "nlohmann/json.hpp"
#include "server/requests/access_table.h"

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

// "`--lora-rank` INT"; a switch has no value.
std::string FlagCell(const JobField& field) {
  std::string value;
  switch (KindOfFlag(field)) {
    case FlagKind::kText:
      value = field.type == nullptr ? "TEXT" : field.type;
      break;
    case FlagKind::kInteger:
      value = field.automatic == nullptr ? "N" : absl::StrCat("N\\|", kAutoWord);
      break;
    case FlagKind::kReal:
      value = "X";
      break;
    case FlagKind::kSwitch:
      return absl::StrCat("`--", field.flag, "`, `--no-", field.flag, "`");
    case FlagKind::kWord:
      value = absl::StrJoin(field.words.words, "\\|");
      break;
    case FlagKind::kAutoSwitch:
      value = "auto\\|on\\|off";
      break;
  }
  return absl::StrCat("`--", field.flag, " ", value, "`");
}

std::string RangeCell(const JobField& field) {
  const FlagKind kind = KindOfFlag(field);
  const bool number = kind == FlagKind::kInteger || kind == FlagKind::kReal;
  if (!number || std::holds_alternative<std::monostate>(field.binding)) return "";
  return field.range.Words(kind == FlagKind::kInteger);
}

std::string JobFlags() {
  std::string table = "| flag | what it does | default | takes |\n| --- | --- | --- | --- |\n";
  for (const JobField& field : JobFields()) {
    if (field.flag == nullptr) continue;
    const std::string usual = field.required ? "required" : DefaultText(field);
    absl::StrAppend(&table, "| ", FlagCell(field), " | ",
                    absl::StrReplaceAll(field.help, {{"|", "\\|"}}), " | ", usual, " | ",
                    RangeCell(field), " |\n");
  }
  return table;
}

// What a method is for the caller with that role: about its own job and another's.
std::string AccessCell(const AccessRow& row, const Caller& caller) {
  const auto may = [&](const char* owner) {
    return Decide(caller, row, owner, Visibility::kGroup) == Verdict::kAllowed;
  };
  if (row.touches == Touches::kNoJob) return may("") ? "yes" : "no";
  if (may("another")) return "all jobs";
  return may(caller.owner.c_str()) ? "own jobs" : "no";
}

std::string AccessRows() {
  std::string table =
      "| method | token read | token submit | token admin | local user | local admin |\n"
      "| --- | --- | --- | --- | --- | --- |\n";
  for (const AccessRow& row : AccessTable()) {
    absl::StrAppend(&table, "| `", row.method, "`");
    for (const Role role : {Role::kRead, Role::kSubmit, Role::kAdmin}) {
      absl::StrAppend(&table, " | ",
                      AccessCell(row, {.owner = "a", .uid = std::nullopt, .role = role}));
    }
    for (const Role role : {Role::kSubmit, Role::kAdmin})
      absl::StrAppend(&table, " | ", AccessCell(row, {.owner = "a", .uid = 1, .role = role}));
    absl::StrAppend(&table, " |\n");
  }
  return table;
}

nlohmann::ordered_json JobDefaults() {
  nlohmann::ordered_json defaults;
  for (const JobField& field : JobFields()) defaults[field.path] = DefaultText(field);
  return defaults;
}

}  // namespace
}  // namespace ftd

int main() {
  std::cout << nlohmann::ordered_json{{"access", ftd::AccessRows()},
                                      {"errors", ftd::Errors()},
                                      {"job_defaults", ftd::JobDefaults()},
                                      {"job_flags", ftd::JobFlags()},
                                      {"step_keys", ftd::StepKeys()},
                                      {"step_series", ftd::StepSeries()}}
                   .dump()
            << "\n";
}

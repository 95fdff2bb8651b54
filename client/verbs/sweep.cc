// ftctl sweep: the jobs of a sweep side by side, and the best of them.
#include <algorithm>
#include <cmath>
#include <iostream>
#include <map>
#include <set>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/sweep.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/text/json_output.h"
#include "client/text/names.h"
#include "client/text/table.h"
#include "client/text/text.h"
#include "lib/base/error.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

using ftd::v1::Job;

// In the order of their submission. Lists leave evaluations out, so each job is asked for.
absl::StatusOr<std::vector<Job>> JobsOfSweep(Connection& connection, const std::string& name) {
  std::vector<Job> jobs;
  ftd::v1::ListJobsRequest request;
  request.set_page_size(1000);
  (*request.mutable_labels())[kSweepLabel] = name;
  do {
    FTD_ASSIGN_OR_RETURN(const auto page,
                         connection.Call(&ftd::v1::FineTuning::Stub::ListJobs, request));
    for (const Job& job : page.jobs()) {
      ftd::v1::GetJobRequest get;
      get.set_job(job.id());
      auto whole = connection.Call(&ftd::v1::FineTuning::Stub::GetJob, get);
      if (absl::IsNotFound(whole.status())) continue;  // removed just now
      FTD_RETURN_IF_ERROR(whole.status());
      jobs.push_back(*std::move(whole));
    }
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  if (jobs.empty()) {
    return Error(Reason::kJobNotFound,
                 absl::StrCat("no sweep \"", name, "\": no job has the label sweep=", name,
                              "; `ftctl ls -o wide` shows labels"));
  }
  std::reverse(jobs.begin(), jobs.end());
  return jobs;
}

std::string ValueText(const nlohmann::ordered_json& value) {
  if (value.is_null()) return "-";
  return value.is_string() ? value.get<std::string>() : value.dump();
}

// The fields of the specs that are not the same in all jobs, by name, with each job's value.
std::vector<std::pair<std::string, std::vector<std::string>>> Differences(
    const std::vector<Job>& jobs) {
  std::vector<nlohmann::ordered_json> specs;
  std::vector<std::string> pointers;  // in the order of the .proto file
  std::set<std::string> known;
  for (const Job& job : jobs) {
    specs.push_back(ToJson(job.spec()).flatten());
    for (const auto& [pointer, unused] : specs.back().items())
      if (known.insert(pointer).second) pointers.push_back(pointer);
  }
  std::vector<std::pair<std::string, std::vector<std::string>>> differences;
  for (const std::string& pointer : pointers) {
    std::vector<std::string> values;
    for (const auto& spec : specs)
      values.push_back(spec.contains(pointer) ? ValueText(spec.at(pointer)) : "-");
    if (std::set<std::string>(values.begin(), values.end()).size() < 2) continue;
    std::string name = pointer.substr(1);
    std::replace(name.begin(), name.end(), '/', '.');
    differences.emplace_back(std::move(name), std::move(values));
  }
  return differences;
}

// What jobs are compared by; none: it has not been evaluated, or only to NaN.
std::optional<double> EvalLoss(const Job& job) {
  if (!job.has_best_evaluation() || std::isnan(job.best_evaluation().loss())) return std::nullopt;
  return job.best_evaluation().loss();
}

// Indexes, the best first, those without an evaluation last.
std::vector<size_t> Ranking(const std::vector<Job>& jobs) {
  std::vector<size_t> ranking(jobs.size());
  for (size_t i = 0; i < jobs.size(); ++i) ranking[i] = i;
  std::stable_sort(ranking.begin(), ranking.end(), [&](size_t a, size_t b) {
    const auto left = EvalLoss(jobs[a]), right = EvalLoss(jobs[b]);
    return left.has_value() && (!right.has_value() || *left < *right);
  });
  return ranking;
}

void PrintTable(const std::vector<Job>& jobs, const std::vector<size_t>& ranking) {
  const auto differences = Differences(jobs);
  std::vector<std::string> head = {"JOB", "STATE"};
  for (const auto& [name, unused] : differences) head.push_back(absl::AsciiStrToUpper(name));
  head.insert(head.end(), {"STEP", "LOSS", "EVAL LOSS", "AT STEP"});
  std::vector<std::vector<std::string>> rows;
  for (const size_t i : ranking) {
    const Job& job = jobs[i];
    std::vector<std::string>& row = rows.emplace_back();
    row = {JobHandle(job), StateName(job.state())};
    for (const auto& [unused, values] : differences) row.push_back(values[i]);
    row.push_back(job.has_last_step() ? absl::StrCat(job.last_step().step()) : "-");
    row.push_back(job.has_last_step() ? Fixed(job.last_step().loss(), 4) : "-");
    const auto loss = EvalLoss(job);
    row.push_back(loss.has_value() ? Fixed(*loss, 4) : "-");
    row.push_back(loss.has_value() ? absl::StrCat(job.best_evaluation().step()) : "-");
  }
  std::cout << Table(head, rows);

  const Job& best = jobs[ranking.front()];
  if (!EvalLoss(best).has_value()) {
    std::cout << std::flush;
    std::cerr << "No job has been evaluated yet; only jobs with --eval-split are." << std::endl;
    return;
  }
  std::vector<std::string> values;
  for (const auto& [name, of_jobs] : differences)
    values.push_back(absl::StrCat(name, " ", of_jobs[ranking.front()]));
  const bool over =
      std::all_of(jobs.begin(), jobs.end(), [](const Job& job) { return job.has_end_time(); });
  std::cout << "\n"
            << (over ? "Best: " : "Best so far: ") << JobHandle(best)
            << (values.empty() ? "" : " (" + Printable(absl::StrJoin(values, ", ")) + ")")
            << ", eval loss " << Fixed(*EvalLoss(best), 4) << " at step "
            << best.best_evaluation().step() << "." << std::endl;
}

void PrintJson(const std::string& name, const std::vector<Job>& jobs,
               const std::vector<size_t>& ranking, const std::string& format) {
  nlohmann::ordered_json sweep = {{"sweep", name}, {"best", nullptr}};
  if (EvalLoss(jobs[ranking.front()]).has_value()) sweep["best"] = jobs[ranking.front()].id();
  for (const size_t i : ranking) sweep["jobs"].push_back(ToJson(jobs[i]));
  PrintStructured(sweep, format);
}

}  // namespace

int SweepVerb(const Invocation& call) {
  std::string name, output = "table";
  Flags flags(
      call, "sweep",
      "Compare the jobs of a sweep (`ftctl submit --sweep`): the fields in which they "
      "differ, how far\nthey are, and the lowest loss on the rows kept for evaluation. The "
      "best comes first.",
      "  ftctl sweep lr\n  ftctl get $(ftctl sweep lr -o json | jq -r .best) best-adapter\n");
  flags.Positional("sweep", "Its name", &name);
  flags.Choice("-o,--output", "Format [table]", {"table", "json", "yaml"}, &output);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto jobs = JobsOfSweep(**connection, name);
  if (!jobs.ok()) return Fail(jobs.status());
  const std::vector<size_t> ranking = Ranking(*jobs);
  if (output == "table") {
    PrintTable(*jobs, ranking);
  } else {
    PrintJson(name, *jobs, ranking, output);
  }
  return kExitOk;
}

}  // namespace ftd

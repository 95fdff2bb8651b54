// ftctl show: one job.
#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_replace.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/job_lookup.h"
#include "client/text/data_text.h"
#include "client/text/json_output.h"
#include "client/text/names.h"
#include "client/text/sample_text.h"
#include "client/text/table.h"
#include "client/text/text.h"
#include "client/text/times.h"
#include "client/watch/data_report.h"
#include "lib/base/error.h"
#include "lib/base/short_bytes.h"
#include "lib/runlog/plain_json.h"
#include "lib/spec/job_fields.h"

namespace ftd {
namespace {

using ftd::v1::Attempt;
using ftd::v1::Job;

// State, and why it is so: the place in the queue, the reason of a failure, the phase.
std::string StateText(const Job& job) {
  std::string text = StateName(job.state());
  if (job.state() == Job::QUEUED && job.position() > 0)
    absl::StrAppend(&text, ", position ", job.position());
  if (const std::string why = PendingText(job.pending_reason()); !why.empty())
    absl::StrAppend(&text, ": ", why);
  if (const std::string why = FailureName(job.failure_reason()); !why.empty())
    absl::StrAppend(&text, ", ", why);
  const std::string phase = PhaseName(job.progress().phase());
  if ((job.state() == Job::PREPARING || job.state() == Job::RUNNING) && !phase.empty()) {
    absl::StrAppend(&text, ", ", phase);
  }
  return text;
}

std::string LastStepText(const Job& job) {
  if (!job.has_last_step()) return "";
  const auto& step = job.last_step();
  const int64_t planned = StepsPlanned(job);
  return absl::StrCat(step.step(), planned > 0 ? absl::StrCat(" of ", planned) : "", ", loss ",
                      Fixed(step.loss(), 4), ", ", Fixed(step.tokens_per_second(), 0), " tok/s");
}

// The last evaluation, and the best one if that is another.
std::string EvaluationsText(const Job& job) {
  if (!job.has_last_evaluation()) return "";
  const auto at = [](const ftd::v1::Evaluation& evaluation) {
    return absl::StrCat(EvaluationText(evaluation), " at step ", evaluation.step());
  };
  std::string text = at(job.last_evaluation());
  if (job.has_best_evaluation() && job.best_evaluation().step() != job.last_evaluation().step())
    absl::StrAppend(&text, "\nbest: ", at(job.best_evaluation()));
  return text;
}

// What the model last answered, a line for each prompt.
std::string Samples(const Job& job) {
  constexpr int kAnswerColumns = 500;
  if (job.last_samples().empty()) return "";
  std::string text = absl::StrCat("at step ", job.last_samples(0).step());
  for (const auto& sample : job.last_samples())
    absl::StrAppend(&text, "\n", SampleText(sample, kAnswerColumns));
  return text;
}

// Returns a setting as its flag takes it; empty when the spec does not have it.
std::string SettingText(const nlohmann::ordered_json& value) {
  if (value.is_boolean()) return value.get<bool>() ? "on" : "off";
  if (value.is_string()) return absl::AsciiStrToLower(value.get<std::string>());
  if (!value.is_array()) return value.is_null() ? "" : value.dump();
  std::vector<std::string> items = value;
  return absl::StrJoin(items, ",");
}

// Returns the settings that people ask for first, and the others where they are not the default.
// Both kinds come from the table of fields, so a new one appears here by itself.
std::string Hyperparameters(const ftd::v1::JobSpec& spec) {
  const nlohmann::ordered_json json = ToJson(spec);
  const bool full = spec.mode() == ftd::v1::JobSpec::FULL;
  std::vector<std::string> settings;
  for (const JobField& field : JobFields()) {
    if (std::holds_alternative<std::monostate>(field.binding) || field.required) continue;
    const auto at = PointerTo(field);
    const nlohmann::ordered_json value = json.contains(at) ? json.at(at) : nullptr;
    // Absent for a switch of three means "auto".
    const bool automatic = KindOfFlag(field) == FlagKind::kAutoSwitch && value.is_null();
    const std::string text = automatic ? field.words.words[0] : SettingText(value);
    const std::string usual =
        SettingText(full && field.for_full ? nlohmann::ordered_json(*field.for_full)
                                           : ValueJson(field, TrainSpec()));
    if (text.empty() || (field.label == nullptr && text == usual)) continue;
    settings.push_back(absl::StrCat(field.label == nullptr
                                        ? absl::StrReplaceAll(field.flag, {{"-", " "}})
                                        : std::string(field.label),
                                    " ", text));
  }
  return absl::StrJoin(settings, ", ");
}

std::string Labels(const Job& job) {
  std::map<std::string, std::string> sorted(job.labels().begin(), job.labels().end());
  return absl::StrJoin(sorted, ", ", absl::PairFormatter("="));
}

// A line for each: KeyValues indents the further ones.
std::string Checkpoints(const Job& job) {
  return absl::StrJoin(
      job.checkpoints(), "\n", [](std::string* out, const ftd::v1::Checkpoint& checkpoint) {
        absl::StrAppend(out, "step ", checkpoint.step(), "  ", ShortBytes(checkpoint.size_bytes()),
                        "  ", checkpoint.path());
      });
}

// "1-120", or "-" for an attempt that took no step.
std::string Steps(const Attempt& attempt) {
  return attempt.last_step() == 0 ? "-"
                                  : absl::StrCat(attempt.first_step(), "-", attempt.last_step());
}

// How the worker's process ended; "-" while it runs, and where nobody knows.
std::string Ended(const Attempt& attempt) {
  if (attempt.has_signal() && attempt.signal() != 0)
    return absl::StrCat("signal ", attempt.signal());
  return attempt.has_exit_code() ? absl::StrCat("exit ", attempt.exit_code()) : "-";
}

// A line for each; `--data` has more.
std::string DataText(const Job& job) {
  if (!job.has_data_report()) return "";
  std::vector<std::string> lines;
  for (const auto& [name, value] : DataSummary(job.data_report())) {
    if (!value.empty()) lines.push_back(absl::StrCat(name, ": ", value));
  }
  return absl::StrJoin(lines, "\n");
}

// Only jobs that were started have any.
void PrintAttempts(const Job& job) {
  std::vector<std::vector<std::string>> rows;
  for (const Attempt& attempt : job.attempts()) {
    rows.push_back({absl::StrCat(attempt.number()), Attempt::State_Name(attempt.state()),
                    Steps(attempt), LocalTime(attempt.start_time()), Ended(attempt),
                    attempt.reason()});
  }
  if (!rows.empty())
    std::cout << "\n" << Table({"ATTEMPT", "STATE", "STEPS", "STARTED", "ENDED", "REASON"}, rows);
}

std::string Time(bool has, const google::protobuf::Timestamp& time) {
  return has ? LocalTime(time) : "";
}

std::string About(bool has, const google::protobuf::Timestamp& time) {
  return has ? absl::StrCat("about ", LocalTime(time)) : "";
}

// Empty values are left out by KeyValues, so the list fits every state.
void PrintJob(const Job& job) {
  std::cout << KeyValues({
      {"id", job.id()},
      {"name", job.name()},
      {"state", StateText(job)},
      {"message", job.message()},
      {"what to do", job.hint()},
      {"mode", ModeName(job.spec().mode())},
      {"model", job.spec().model()},
      {"dataset", job.spec().dataset().file_name()},
      {"settings", Hyperparameters(job.spec())},
      {"data", DataText(job)},
      {"memory used",
       job.progress().peak_memory_bytes() == 0
           ? ""
           : absl::StrCat(ShortBytes(job.progress().peak_memory_bytes()), " at most")},
      {"step", LastStepText(job)},
      {"evaluation", EvaluationsText(job)},
      {"samples", Samples(job)},
      {"priority", job.priority() == 0 ? "" : absl::StrCat(job.priority())},
      {"after", absl::StrJoin(job.after(), ", ")},
      {"starts from", job.start_from()},
      {"time limit", job.time_limit_seconds() == 0
                         ? ""
                         : ShortDuration(static_cast<double>(job.time_limit_seconds()))},
      {"labels", Labels(job)},
      {"owner", job.owner()},
      {"created", Time(job.has_create_time(), job.create_time())},
      {"started", Time(job.has_start_time(), job.start_time())},
      {"will start", About(job.has_estimated_start_time(), job.estimated_start_time())},
      {"will end", About(job.has_estimated_end_time(), job.estimated_end_time())},
      {"ended", Time(job.has_end_time(), job.end_time())},
      {"checkpoints", Checkpoints(job)},
      {"removed", absl::StrJoin(job.removals(), "\n",
                                [](std::string* out, const ftd::v1::Removal& removal) {
                                  absl::StrAppend(out, RemovalText(removal));
                                })},
      {"warnings", absl::StrJoin(job.warnings(), "\n")},
      {"result", job.result_dir()},
  });
  PrintAttempts(job);
  if (const std::string next = NextStep(job); !next.empty())
    std::cout << "\nnext: " << next << "\n";
  std::cout << std::flush;
}

int PrintData(const Job& job) {
  if (!job.has_data_report()) {
    return Fail(
        Error(Reason::kStateConflict,
              absl::StrCat("the rows of job ", job.id(),
                           " have not been tokenised yet; try again once it is PREPARING")));
  }
  PrintDataReport(job.data_report());
  return kExitOk;
}

}  // namespace

int ShowVerb(const Invocation& call) {
  std::string name;
  std::string output = "table";
  bool data = false;
  Flags flags(
      call, "show", "Show a job: state, settings, attempts, checkpoints, result.",
      "  ftctl show first\n  ftctl show first --data\n  ftctl show first -o json | jq -r .state\n");
  flags.Positional("JOB", "Id or name", &name);
  flags.Switch("--data", "What its rows are: numbers, lengths, the first rows", &data);
  flags.Choice("-o,--output", "Format [table]", {"table", "json", "yaml"}, &output);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto job = FindJob(**connection, name);
  if (!job.ok()) return Fail(job.status());
  if (output == "table") {
    if (data) return PrintData(*job);
    PrintJob(*job);
  } else {
    PrintStructured(ToJson(*job), output);
  }
  return kExitOk;
}

}  // namespace ftd

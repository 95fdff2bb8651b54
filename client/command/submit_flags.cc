#include "client/command/submit_flags.h"

#include <filesystem>
#include <functional>
#include <string_view>
#include <variant>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "client/base/uuid.h"
#include "client/command/job_file.h"
#include "client/text/text.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/runlog/message_json.h"
#include "lib/spec/job_fields.h"

namespace ftd {
namespace {

using ftd::v1::JobSpec;

constexpr const char* kFileFlag = "-f,--file";
// What may say model and mode.
constexpr const char* kInsteadOfModel = "-f,--file,--start-from";

// Returns a field's names as CLI11 takes them: "--model,--model-name", "--shuffle,!--no-shuffle".
std::string FlagNames(const JobField& field) {
  const std::string name = absl::StrCat("--", field.flag);
  if (field.aliases != nullptr)
    return absl::StrCat(name, ",--", absl::StrReplaceAll(field.aliases, {{",", ",--"}}));
  return KindOfFlag(field) == FlagKind::kSwitch ? absl::StrCat(name, ",!--no-", field.flag) : name;
}

// Three values and a bare form: --x on, --x off, --x auto, --x, --no-x.
void AddAutoSwitch(Flags& flags, const JobField& field, GivenFields* given) {
  flags.ChoiceOrBare(FlagNames(field), FlagHelp(field),
                     {field.words.words.begin(), field.words.words.end()}, "on",
                     [given, &field](const std::string& text) { given->SetText(field, text); });
  flags.Switch(absl::StrCat("--no-", field.flag),
               absl::StrCat("The same as --", field.flag, " off"),
               [given, &field](bool) { given->SetText(field, "off"); });
}

// One flag per row of the table; the kind of the field decides how the text is read.
void AddField(Flags& flags, const JobField& field, GivenFields* given) {
  const std::string names = FlagNames(field), help = FlagHelp(field);
  const auto set = [given, &field](auto value) { given->Set(field, value); };
  const auto set_text = [given, &field](const std::string& text) { given->SetText(field, text); };
  switch (KindOfFlag(field)) {
    case FlagKind::kText:
      flags.Text(names, help, set_text, field.type == nullptr ? "TEXT" : field.type);
      break;
    case FlagKind::kWord:
      flags.Choice(names, help, {field.words.words.begin(), field.words.words.end()}, set_text,
                   [&field](const std::string& text) { return WordMeant(field, text); });
      break;
    case FlagKind::kInteger:
      if (field.automatic != nullptr) {
        flags.Int32Or(names, help, kAutoWord, set,
                      [given, &field] { given->SetText(field, kAutoWord); });
      } else if (std::holds_alternative<JobField::Ref<int32_t>>(field.binding)) {
        flags.Int32(names, help, set);
      } else {
        flags.Int64(names, help, set);
      }
      break;
    case FlagKind::kReal:
      flags.Double(names, help, set);
      break;
    case FlagKind::kSwitch:
      flags.Switch(names, help, std::function<void(bool)>(set));
      break;
    case FlagKind::kAutoSwitch:
      AddAutoSwitch(flags, field, given);
      break;
  }
}

// Flags that belong to the request and not to the spec.
void AddQueue(Flags& flags, SubmitFlags* submit) {
  auto* request = &submit->request;
  flags.Group("Queue");
  flags.Text("--name", "Name to use instead of the id: a-z, 0-9 and -, at most 63",
             [submit](const std::string& v) { submit->name = v; });
  flags.Int32("--priority", "Higher runs earlier, -1000 to 1000 [0]",
              [submit](int32_t v) { submit->priority = v; });
  flags.Repeated("--label", "May be given several times", &submit->labels, "KEY=VALUE");
  flags.Text("--request-id", "UUID that makes a repeated submit the same job [a new one]",
             [request](const std::string& v) { request->set_request_id(v); });
}

std::string Absolute(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error).lexically_normal();
  // In a directory whose name is not UTF-8 the path stays as it is; ftd asks for an absolute one.
  return error || !IsValidUtf8(absolute.string()) ? path : absolute.string();
}

// Returns an absolute path for a directory here, or for what can only be meant as one; anything
// else is an alias and stays.
std::string ModelArgument(const std::string& model) {
  std::error_code error;
  const bool path_like = !model.empty() && (model[0] == '/' || model[0] == '.');
  return path_like || std::filesystem::is_directory(model, error) ? Absolute(model) : model;
}

}  // namespace

void AddSubmitFlags(Flags& flags, SubmitFlags* submit) {
  flags.Text(kFileFlag,
             "The job as YAML or JSON, - for standard input; flags override what it says",
             &submit->file, "FILE");
  for (const JobField& field : JobFields()) {
    flags.Group(field.group);
    // `--dataset` stands at the place of the field that it fills in, so that help groups it with
    // its like.
    if (field.path == std::string_view("dataset.server_path")) {
      flags.Text("--dataset",
                 "Rows: a file (.jsonl, .json, .csv, .tsv, .parquet, .arrow), a directory or a "
                 "quoted glob, sent to ftd; or OWNER/NAME on the hub [tatsu-lab/alpaca, 512 rows]",
                 &submit->dataset, "PATH");
    }
    if (field.flag != nullptr) AddField(flags, field, &submit->given);
    const bool has_default =
        field.path == std::string_view("mode") && submit->default_mode != JobSpec::MODE_UNSPECIFIED;
    if (field.required && !has_default)
      flags.Require(absl::StrCat("--", field.flag), kInsteadOfModel);
  }
  AddQueue(flags, submit);
  flags.Group("Other tools' names");
  for (const Shorthand& shorthand : Shorthands()) {
    flags.Switch(absl::StrCat("--", shorthand.flag), ShorthandHelp(shorthand),
                 [given = &submit->given, &shorthand](bool) { given->SetShorthand(shorthand); });
  }
  flags.Group("Options");
}

void AddJobLinks(Flags& flags, SubmitFlags* submit) {
  flags.Group("Other jobs");
  flags.Repeated("--after",
                 "Start once this job has succeeded; if it fails, so does this one. May be given "
                 "several times",
                 &submit->after, "JOB");
  flags.Text(
      "--start-from",
      "Begin with the weights of a job's result, or of its checkpoint of a step, and with its "
      "model and mode. A job that has not ended is waited for",
      [submit](const std::string& v) { submit->start_from = v; }, "JOB[@STEP]");
  flags.Text(
      "--time-limit",
      "Write a checkpoint and end after so much time, such as 90m or 1d12h, over all attempts "
      "[none]",
      [submit](const std::string& v) { submit->time_limit = v; }, "TIME");
  flags.Group("Options");
}

absl::StatusOr<int64_t> ParseTimeLimit(const std::string& text) {
  if (text == "none") return 0;
  if (const auto seconds = ParseDuration(text)) return *seconds;
  return Error(
      Reason::kUsage,
      absl::StrCat("--time-limit needs a time with its units, such as 90m, 12h or 1d12h, or "
                   "none; got '",
                   text, "'"));
}

// The value may have further equals signs, and may be empty.
absl::Status ParseLabels(const std::vector<std::string>& labels,
                         google::protobuf::Map<std::string, std::string>* parsed) {
  for (const std::string& label : labels) {
    const size_t equals = label.find('=');
    if (equals == 0 || equals == std::string::npos) {
      return Error(Reason::kUsage, absl::StrCat("--label needs KEY=VALUE; got '", label, "'"));
    }
    (*parsed)[label.substr(0, equals)] = label.substr(equals + 1);
  }
  return absl::OkStatus();
}

// Paths become absolute here: ftd has another working directory.
absl::Status CompleteRequest(SubmitFlags* submit) {
  auto& request = submit->request;
  JobSpec* spec = request.mutable_spec();
  JobFile file;
  if (!submit->file.empty()) {
    FTD_ASSIGN_OR_RETURN(file, ReadJobFile(submit->file));
  }
  FTD_RETURN_IF_ERROR(submit->given.Text().status());
  Override(submit->given.json(), !submit->dataset.empty(), &file.spec);
  if (submit->dataset.empty()) submit->dataset = file.dataset;
  request.set_name(submit->name.value_or(file.name.value_or("")));
  request.set_priority(submit->priority.value_or(file.priority.value_or(0)));
  request.mutable_labels()->insert(file.labels.begin(), file.labels.end());
  const std::vector<std::string>& after = submit->after.empty() ? file.after : submit->after;
  request.mutable_after()->Assign(after.begin(), after.end());
  request.set_start_from(submit->start_from.value_or(file.start_from));
  request.set_time_limit_seconds(file.time_limit_seconds);
  if (submit->time_limit.has_value()) {
    FTD_ASSIGN_OR_RETURN(const int64_t seconds, ParseTimeLimit(*submit->time_limit));
    request.set_time_limit_seconds(seconds);
  }
  const absl::Status parsed = MessageFromJson(file.spec.dump(), UnknownFields::kRefused, spec);
  if (!parsed.ok()) return Error(Reason::kUsage, std::string(parsed.message()));
  if (spec->mode() == JobSpec::MODE_UNSPECIFIED) spec->set_mode(submit->default_mode);
  spec->set_model(ModelArgument(spec->model()));
  if (spec->has_lora() && !spec->lora().init_adapter().empty()) {
    spec->mutable_lora()->set_init_adapter(Absolute(spec->lora().init_adapter()));
  }
  FTD_RETURN_IF_ERROR(ParseLabels(submit->labels, request.mutable_labels()));
  // Made once for all retries of this call.
  if (request.request_id().empty()) request.set_request_id(NewUuid());
  return absl::OkStatus();
}

}  // namespace ftd

#include "worker/commands/train_flags.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/cli/bare_flag.h"
#include "lib/spec/dataset_spec.h"
#include "lib/spec/job_fields.h"
#include "lib/spec/repo_name.h"

namespace ftd {
namespace {

using Json = nlohmann::json;

// Returns the presets: NVIDIA's scripts with their model, and what differs from the defaults of the
// mode.
const std::map<std::string, Json>& Presets() {
  static const auto* const kPresets = new std::map<std::string, Json>{
      {"llama3-8b-lora", {{"model", "meta-llama/Llama-3.1-8B-Instruct"}, {"mode", "LORA"}}},
      {"llama3-3b-full", {{"model", "meta-llama/Llama-3.2-3B-Instruct"}, {"mode", "FULL"}}},
      {"llama3-70b-qlora", {{"model", "unsloth/Meta-Llama-3.1-70B-bnb-4bit"}, {"mode", "QLORA"}}},
      {"llama3-70b-lora",
       {{"model", "meta-llama/Llama-3.1-70B-Instruct"},
        {"mode", "LORA"},
        {"batch_size", 4},
        {"dataset", {{"size", 500}}}}},
  };
  return *kPresets;
}

std::string Underscored(std::string name) {
  std::replace(name.begin(), name.end(), '-', '_');
  return name;
}

// Returns "--learning_rate,--learning-rate".
std::string BothSpellings(const std::string& name) {
  std::string dashed = name;
  std::replace(dashed.begin(), dashed.end(), '_', '-');
  return dashed == name ? "--" + name : absl::StrCat("--", name, ",--", dashed);
}

std::vector<std::string> Words(const JobField& field) {
  return {field.words.words.begin(), field.words.words.end()};
}

// Returns the row of the table for gradient checkpointing, whose flag may stand without a value.
const JobField& CheckpointingField() {
  const auto fields = JobFields();
  return *std::find_if(fields.begin(), fields.end(), [](const JobField& field) {
    return KindOfFlag(field) == FlagKind::kAutoSwitch;
  });
}

// Returns a field's names as CLI11 takes them: "--learning_rate,--learning-rate", with the alias,
// and for a switch with its opposite.
std::string FlagNames(const JobField& field) {
  std::string names = BothSpellings(Underscored(field.flag));
  if (field.aliases != nullptr) {
    for (const absl::string_view alias : absl::StrSplit(field.aliases, ','))
      absl::StrAppend(&names, ",", BothSpellings(Underscored(std::string(alias))));
  }
  if (KindOfFlag(field) != FlagKind::kSwitch) return names;
  const std::string off = Underscored(absl::StrCat("no-", field.flag));
  return absl::StrCat(names, ",!", absl::StrReplaceAll(BothSpellings(off), {{",", ",!"}}));
}

// Returns what a flag takes that has a number, or the word auto in its place.
CLI::Validator NumberOrAuto() {
  return {[](const std::string& text) {
            int64_t number = 0;
            const bool taken =
                absl::SimpleAtoi(text, &number) || absl::EqualsIgnoreCase(text, kAutoWord);
            return taken ? std::string() : "needs a whole number, or auto; got '" + text + "'";
          },
          ""};
}

// The bare form is made into "=on" by TrainArguments, before CLI11 sees it.
void AddAutoSwitch(CLI::App& app, const JobField& field, GivenFields* given) {
  app.add_option_function<std::string>(
         FlagNames(field), [=, &field](const std::string& text) { given->SetText(field, text); },
         FlagHelp(field))
      ->check(CLI::IsMember(Words(field)))
      ->group(field.group);
  app.add_flag_callback(
         BothSpellings(Underscored(absl::StrCat("no-", field.flag))),
         [=, &field] { given->SetText(field, "off"); },
         absl::StrCat("The same as --", Underscored(field.flag), " off"))
      ->group(field.group);
}

// One flag per row of the table, in the spelling of the scripts and in ftctl's.
void AddField(CLI::App& app, const JobField& field, GivenFields* given) {
  const std::string names = FlagNames(field), help = FlagHelp(field);
  const auto set = [given, &field](const auto& value) { given->Set(field, value); };
  const auto set_text = [given, &field](const std::string& text) { given->SetText(field, text); };
  CLI::Option* option = nullptr;
  switch (KindOfFlag(field)) {
    case FlagKind::kText:
      option = app.add_option_function<std::string>(names, set_text, help)
                   ->type_name(field.type == nullptr ? "TEXT" : field.type);
      break;
    case FlagKind::kWord:
      option = app.add_option_function<std::string>(names, set_text, help)
                   ->check(CLI::IsMember(std::vector<std::string>(field.words.words.begin(),
                                                                  field.words.words.end())))
                   ->transform(CLI::Validator(
                       [&field](std::string& text) {
                         text = WordMeant(field, text);
                         return std::string();
                       },
                       ""));
      break;
    case FlagKind::kInteger:
      if (field.automatic != nullptr) {
        option = app.add_option_function<std::string>(names, set_text, help)
                     ->check(NumberOrAuto())
                     ->type_name("INT|auto");
        break;
      }
      option = app.add_option_function<int64_t>(names, set, help);
      break;
    case FlagKind::kReal:
      option = app.add_option_function<double>(names, set, help);
      break;
    case FlagKind::kSwitch:
      option = app.add_flag_function(
          names, [given, &field](int64_t count) { given->Set(field, count > 0); }, help);
      break;
    case FlagKind::kAutoSwitch:
      return AddAutoSwitch(app, field, given);
  }
  option->group(field.group);
}

// Settings of this start and this machine. They are not part of the run's spec.
void AddMachine(CLI::App& app, TrainOptions& options) {
  app.add_option(BothSpellings("peak_tflops"), options.peak_tflops,
                 "What the device does at most in --dtype, for the MFU [by the GPU's model]")
      ->type_name("TFLOPS")
      ->check(CLI::Range(0.0, 1e6));
  app.add_option(BothSpellings("host_memory_reserve_mib"), options.host_memory_reserve_mib,
                 "Save and stop when the host has less memory left, MiB; 0: never [8192 where the "
                 "GPU shares the host's memory, else 0]")
      ->type_name("MIB")
      ->check(CLI::Range(int64_t{0}, int64_t{1} << 30));
  app.add_option(BothSpellings("log_dir"), options.log_dir, "TensorBoard's [OUTPUT_DIR/logs]")
      ->type_name("DIR");
  app.add_option(BothSpellings("output_dir"), options.output_dir,
                 "Result and checkpoints [a new directory under outputs/]")
      ->type_name("DIR");
  app.add_option("--resume", options.resume,
                 "Continue from 'latest' or from a checkpoint directory");
}

// Returns whether the dataset is a repository. A file of that name takes precedence, as the shell's
// completion suggests.
bool IsOnHub(const std::string& dataset) {
  std::error_code error;
  return !std::filesystem::exists(dataset, error) && hub::IsRepoName(dataset);
}

}  // namespace

// The preset is a positional argument, as the scripts have names.
void AddTrainOptions(CLI::App& app, TrainOptions& options) {
  std::vector<std::string> presets;
  for (const auto& [name, unused] : Presets()) presets.push_back(name);
  app.add_option("preset", options.preset, "A script of NVIDIA's playbook: its model and defaults")
      ->check(CLI::IsMember(presets));
  app.add_option("--dataset", options.dataset,
                 "File, directory or glob of rows, or OWNER/NAME on the hub [tatsu-lab/alpaca, 512 "
                 "rows; 70b-lora 500]")
      ->type_name("PATH")
      ->group("Model and data");
  for (const JobField& field : JobFields()) {
    if (field.flag != nullptr) AddField(app, field, &options.given);
  }
  for (const Shorthand& shorthand : Shorthands()) {
    app.add_flag_callback(
           BothSpellings(Underscored(shorthand.flag)),
           [given = &options.given, &shorthand] { given->SetShorthand(shorthand); },
           ShorthandHelp(shorthand))
        ->group("Other tools' names");
  }
  AddMachine(app, options);
}

// Only a word of the field is its value: anything else is the preset or the next flag.
std::vector<std::string> TrainArguments(std::vector<std::string> args) {
  const auto takes = [](const std::string& word) {
    const auto words = Words(CheckpointingField());
    return std::find(words.begin(), words.end(), word) != words.end();
  };
  const std::vector<std::string> names = absl::StrSplit(FlagNames(CheckpointingField()), ',');
  return WithBareValue(std::move(args), {names, "on", takes});
}

// Preset first, flags over it (RFC 7396), then what the scripts do for any dataset.
absl::StatusOr<std::string> GivenSpecJson(const TrainOptions& options) {
  FTD_RETURN_IF_ERROR(options.given.Text().status());
  Json spec = {{"mode", "LORA"}};
  if (!options.preset.empty()) spec = Presets().at(options.preset);
  const bool named = !options.dataset.empty();
  // A dataset of one's own replaces the preset's, its size included.
  if (named) spec.erase("dataset");
  // Tokens that fill a micro-batch replace the preset's number of rows.
  if (options.given.json().contains("batch_tokens")) spec.erase("batch_size");
  spec.merge_patch(options.given.json());
  Json& dataset = spec["dataset"];
  // The scripts shuffle the rows with this seed, whatever they are.
  if (!dataset.contains("shuffle_seed")) dataset["shuffle_seed"] = kScriptShuffleSeed;
  if (dataset.contains("hub") || (named && IsOnHub(options.dataset))) {
    dataset["hub"]["name"] = named ? options.dataset : kDefaultDataset;
  } else if (named) {
    dataset["server_path"] = options.dataset;
  }
  if (spec.contains("model")) return spec.dump();
  return Error(Reason::kUsage,
               "which model? Name a preset (llama3-8b-lora, llama3-3b-full, llama3-70b-qlora, "
               "llama3-70b-lora) or give --model_name");
}

}  // namespace ftd

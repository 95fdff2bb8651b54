#include "worker/commands/train_flags.h"

#include <algorithm>
#include <filesystem>
#include <iterator>
#include <map>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/cli/bare_flag.h"
#include "lib/spec/dataset_spec.h"
#include "lib/spec/repo_name.h"

namespace ftd {
namespace {

using Json = nlohmann::json;

// NVIDIA's scripts: their model, and what differs from the defaults of the mode.
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

// "--learning_rate" and "--learning-rate".
std::string BothSpellings(const std::string& name) {
  std::string dashed = name;
  std::replace(dashed.begin(), dashed.end(), '_', '-');
  return dashed == name ? "--" + name : absl::StrCat("--", name, ",--", dashed);
}

constexpr char kCheckpointing[] = "gradient_checkpointing";
constexpr const char* kCheckpointingWords[] = {"auto", "on", "off"};

// Options that fill one JSON object, whose keys are their names unless another is given.
class Fields {
 public:
  Fields(CLI::App& app, Json& into) : app_(app), into_(into) {}

  template <typename T>
  CLI::Option* Add(const std::string& name, const std::string& help, std::string key = "") {
    if (key.empty()) key = name;
    return app_.add_option_function<T>(
        BothSpellings(name), [into = &into_, key](const T& value) { (*into)[key] = value; }, help);
  }
  CLI::Option* Text(const std::string& name, const char* type, const std::string& help,
                    std::string key = "") {
    return Add<std::string>(name, help, std::move(key))->type_name(type);
  }
  // An enum of the wire, by the word that people write.
  void Word(const std::string& name, std::vector<std::string> words, const std::string& help,
            std::string key = "") {
    if (key.empty()) key = name;
    app_.add_option_function<std::string>(
            BothSpellings(name),
            [into = &into_, key](const std::string& value) { (*into)[key] = EnumWord(value); },
            help)
        ->check(CLI::IsMember(std::move(words)));
  }
  void Switch(const std::string& name, const std::string& help) {
    app_.add_flag_callback(
        BothSpellings(name), [into = &into_, name] { (*into)[name] = true; }, help);
  }
  void SwitchOff(const std::string& name, const std::string& key, const std::string& help) {
    app_.add_flag_callback(
        BothSpellings(name), [into = &into_, key] { (*into)[key] = false; }, help);
  }
  // A bool of the wire, absent for auto.
  void GradientCheckpointing() {
    const auto set = [into = &into_](const std::string& value) {
      (*into)[kCheckpointing] = value == "auto" ? Json(nullptr) : Json(value == "on");
    };
    app_.add_option_function<std::string>(
            BothSpellings(kCheckpointing), set,
            "Compute layers again in the backward pass: less memory, up to a third more work; "
            "auto: on a GPU as many as its free memory asks for, on a CPU none [auto; bare: on]")
        ->check(CLI::IsMember(std::vector<std::string>(std::begin(kCheckpointingWords),
                                                       std::end(kCheckpointingWords))));
    SwitchOff(absl::StrCat("no_", kCheckpointing), kCheckpointing,
              "The same as --gradient_checkpointing off");
  }

 private:
  CLI::App& app_;
  Json& into_;
};

void AddData(Fields dataset, CLI::App& app, TrainOptions& options) {
  dataset.Text("dataset", "PATH",
               "File, directory or glob of rows, or OWNER/NAME on the hub [tatsu-lab/alpaca]",
               "server_path");
  const auto of_hub = [&](const char* key, const std::string& help) {
    app.add_option_function<std::string>(
           BothSpellings(absl::StrCat("dataset_", key)),
           [&options, key](const std::string& value) { options.dataset["hub"][key] = value; }, help)
        ->type_name("NAME");
  };
  of_hub("revision", "Branch, tag or commit of a hub dataset [main]");
  of_hub("config", "Configuration of a hub dataset, where it has several");
  of_hub("split", "Split of a hub dataset [train]");
  dataset.Add<int64_t>("dataset_size",
                       "First rows to use [512, 70b-lora 500; of a named dataset all]", "size");
  dataset.Word("dataset_shape", {"alpaca", "text", "prompt-completion"},
               "What a row consists of [by its columns]", "shape");
  app.add_option("--columns", options.columns,
                 "Columns that hold a shape's fields: instruction=question,output=answer")
      ->type_name("FIELD=COLUMN,…");
  app.add_option_function<std::string>(
         "--template",
         [&options](const std::string& text) {
           options.dataset["template"] = UnescapedTemplate(text);
         },
         R"(Text of a row made of its columns: "Q: {question}\nA: {answer}")")
      ->type_name("TEXT");
  dataset.Word("train_on", {"all", "completions"},
               "Tokens to learn [completions for prompt-completion rows, else all]");
  dataset.Add<int64_t>("skip_bad_rows", "Bad rows to pass over before one ends the run [0]");
}

void AddTraining(Fields spec) {
  spec.Word("dtype", {"float32", "float16", "bfloat16"},
            "Arithmetic [bfloat16 on a GPU, float32 on the CPU]");
  spec.Word("precision", {"fp32_master", "hf_parity"},
            "Weights and AdamW of mode full: float32, or --dtype as the scripts [fp32_master]");
  spec.Add<int64_t>("batch_size", "Rows in a micro-batch [8]");
  spec.Add<int64_t>("seq_length", "Rows are cut to this many tokens [2048]");
  spec.Add<double>("num_epochs", "Passes over the data [1]");
  spec.Add<int64_t>("max_steps", "Optimizer steps, instead of epochs");
  spec.Add<int64_t>("gradient_accumulation_steps", "Micro-batches in a step [1]");
  spec.Add<double>("learning_rate", "Peak rate [1e-4, full 5e-5]");
  spec.Word("lr_scheduler_type",
            {"linear", "cosine", "cosine_with_min_lr", "constant", "constant_with_warmup"},
            "How the rate moves over the steps [linear]");
  spec.Add<double>("warmup_steps", "Steps of linear warm-up; below 1 a share of all [0]");
  spec.Add<double>("min_lr", "Where cosine_with_min_lr ends: a rate");
  spec.Add<double>("min_lr_rate", "Where cosine_with_min_lr ends: a share of the peak");
  spec.Add<double>("weight_decay", "Decoupled weight decay [0]");
  spec.Add<double>("max_grad_norm", "Gradients are clipped to this norm [1]");
  spec.GradientCheckpointing();
  spec.SwitchOff("no_deterministic", "deterministic",
                 "Faster kernels on a GPU; a resumed run may differ in last bits");
  spec.Add<int64_t>("seed", "Adapters, order of epochs, dropout [42]");
  spec.Switch("playbook_warmup", "Train 0.05 epochs before the first step, as NVIDIA's scripts do");
}

void AddLora(CLI::App& app, Json& spec) {
  // Made only when a flag asks for it: an empty `lora` in mode full would be a mistake.
  const auto set = [&spec](const char* key) {
    return [&spec, key](const auto& value) { spec["lora"][key] = value; };
  };
  app.add_option_function<int64_t>(BothSpellings("lora_rank"), set("rank"),
                                   "Rank of the adapters [8]");
  app.add_option_function<double>(BothSpellings("lora_alpha"), set("alpha"),
                                  "The adapter is scaled by alpha / rank [16]");
  app.add_option_function<double>(BothSpellings("lora_dropout"), set("dropout"),
                                  "Dropout before A [0]");
  app.add_flag_callback(
      BothSpellings("use_rslora"), [&spec] { spec["lora"]["use_rslora"] = true; },
      "Scale by alpha / sqrt(rank): for high ranks");
  app.add_option_function<std::string>(
         BothSpellings("target_modules"),
         [&spec](const std::string& names) {
           spec["lora"]["target_modules"] =
               std::vector<std::string>(absl::StrSplit(names, ',', absl::SkipEmpty()));
         },
         "Comma-separated projections, or all-linear [all seven]")
      ->type_name("NAMES");
  app.add_option_function<std::string>(BothSpellings("init_adapter"), set("init_adapter"),
                                       "PEFT adapter directory to start from")
      ->type_name("DIR");
}

void AddRecordKeeping(Fields spec, CLI::App& app, TrainOptions& options) {
  spec.Add<int64_t>("logging_steps", "Steps between two log lines [1]");
  spec.Add<int64_t>("save_steps", "Steps between two checkpoints; 0: only when stopped [500]");
  spec.Add<int64_t>("save_total_limit", "Newest checkpoints kept [2]");
  spec.Add<double>("eval_split",
                   "Rows kept back to evaluate on: below 1 a share, else a number [0]");
  spec.Add<int64_t>("eval_steps", "Steps between two evaluations; 0: an epoch [0]");
  spec.Switch("load_best_model_at_end",
              "The result is of the best evaluation, not of the last step");
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
  app.add_option("--resume", options.resume, "Go on from 'latest' or from a checkpoint directory");
}

// A file of that name goes first, as the shell's completion would have it.
bool IsOnHub(const std::string& dataset) {
  std::error_code error;
  return !std::filesystem::exists(dataset, error) && hub::IsRepoName(dataset);
}

}  // namespace

void AddTrainOptions(CLI::App& app, TrainOptions& options) {
  std::vector<std::string> presets;
  for (const auto& [name, unused] : Presets()) presets.push_back(name);
  app.add_option("preset", options.preset, "A script of NVIDIA's playbook: its model and defaults")
      ->check(CLI::IsMember(presets));
  options.spec = options.dataset = Json::object();
  Fields spec(app, options.spec);
  spec.Text("model_name", "MODEL", "Directory, alias, or OWNER/NAME of the hub", "model");
  spec.Text("revision", "NAME", "Branch, tag or commit of a hub model [main]");
  spec.Word("mode", {"lora", "full", "qlora"}, "Way of fine-tuning [lora]");
  AddData(Fields(app, options.dataset), app, options);
  AddTraining(spec);
  AddLora(app, options.spec);
  AddRecordKeeping(spec, app, options);
}

std::vector<std::string> TrainArguments(std::vector<std::string> args) {
  const auto takes = [](const std::string& word) {
    return std::find(std::begin(kCheckpointingWords), std::end(kCheckpointingWords), word) !=
           std::end(kCheckpointingWords);
  };
  const std::vector<std::string> names = absl::StrSplit(BothSpellings(kCheckpointing), ',');
  return WithBareValue(std::move(args), {names, "on", takes});
}

absl::StatusOr<std::string> GivenSpecJson(const TrainOptions& options) {
  Json spec = {{"mode", "LORA"}};
  if (!options.preset.empty()) spec = Presets().at(options.preset);
  spec.merge_patch(options.spec);
  Json dataset = options.dataset;
  FTD_ASSIGN_OR_RETURN(const auto columns, ParseColumnMap(options.columns));
  if (!columns.empty()) dataset["columns"] = columns;
  // Whatever the rows are, the scripts shuffle them so.
  dataset["shuffle_seed"] = kScriptShuffleSeed;
  const bool named = dataset.contains("server_path");
  const std::string name = dataset.value("server_path", std::string(kDefaultDataset));
  if (dataset.contains("hub") || (named && IsOnHub(name))) {
    dataset["hub"]["name"] = name;
    dataset.erase("server_path");
  }
  if (named && spec.contains("dataset")) spec.erase("dataset");
  Json patch = {{"dataset", dataset}};
  spec.merge_patch(patch);
  if (spec.contains("model")) return spec.dump();
  return Error(Reason::kUsage,
               "which model? Name a preset (llama3-8b-lora, llama3-3b-full, llama3-70b-qlora, "
               "llama3-70b-lora) or give --model_name");
}

}  // namespace ftd

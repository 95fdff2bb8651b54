#include "worker/train_command.h"

#include <unistd.h>

#include <algorithm>
#include <cstdio>
#include <map>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "artifacts/dataset_spec.h"
#include "artifacts/error.h"
#include "artifacts/hub/settings.h"
#include "worker/attempt_request.h"
#include "worker/control_server.h"
#include "worker/engine/train.h"
#include "worker/train_console.h"
#include "worker/train_output.h"
#include "worker/train_sources.h"
#include "worker/training_run.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
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

template <typename T>
CLI::Option* Field(CLI::App& app, Json& into, const std::string& flag, const std::string& key,
                   const std::string& help) {
  return app.add_option_function<T>(
      BothSpellings(flag), [&into, key](const T& value) { into[key] = value; }, help);
}

void Switch(CLI::App& app, Json& into, const std::string& name, const std::string& help) {
  app.add_flag_callback(
      BothSpellings(name), [&into, name] { into[name] = true; }, help);
}

// An enum of the wire by the word that people write.
void Word(CLI::App& app, Json& into, const std::string& flag, std::vector<std::string> words,
          const std::string& help) {
  app.add_option_function<std::string>(
         BothSpellings(flag),
         [&into, flag](const std::string& value) { into[flag] = absl::AsciiStrToUpper(value); },
         help)
      ->check(CLI::IsMember(std::move(words)));
}

absl::StatusOr<std::string> SpecJson(const TrainOptions& options) {
  Json spec = {{"mode", "LORA"}};
  if (!options.preset.empty()) spec = Presets().at(options.preset);
  spec.merge_patch(options.spec);
  Json dataset = options.dataset;
  // Whatever the rows are, the scripts shuffle them so.
  dataset["shuffle_seed"] = kScriptShuffleSeed;
  const bool named = dataset.contains("server_path");
  if (named && spec.contains("dataset")) spec.erase("dataset");
  Json patch = {{"dataset", dataset}};
  spec.merge_patch(patch);
  if (spec.contains("model")) return spec.dump();
  return Error(absl::StatusCode::kInvalidArgument, "USAGE",
               "which model? Name a preset (llama3-8b-lora, llama3-3b-full, llama3-70b-qlora, "
               "llama3-70b-lora) or give --model_name");
}

// A directory that no other run has: nobody loses a model again.
fs::path DefaultOutput(const TrainOptions& options) {
  const std::string model = options.spec.value("model", std::string("model"));
  const std::string name =
      options.preset.empty() ? fs::path(model).filename().string() : options.preset;
  return fs::path("outputs") /
         absl::StrCat(name, "-",
                      absl::FormatTime("%Y%m%d-%H%M%S", absl::Now(), absl::LocalTimeZone()), "-",
                      ::getpid());
}

absl::StatusOr<TrainOutput> OpenOutput(const TrainOptions& options, fs::path& dir) {
  dir = options.output_dir;
  if (!options.resume.empty()) {
    if (!options.spec.empty() || !options.dataset.empty() || !options.preset.empty() ||
        !options.log_dir.empty()) {
      return Error(absl::StatusCode::kInvalidArgument, "USAGE",
                   "a run goes on with the settings that it was started with; give --resume with "
                   "nothing but --output_dir");
    }
    if (dir.empty() && options.resume != "latest")
      dir = fs::absolute(options.resume).lexically_normal().parent_path();
    if (dir.empty()) {
      return Error(absl::StatusCode::kInvalidArgument, "USAGE",
                   "--resume latest needs the run's --output_dir");
    }
    return TrainOutput::Resume(dir = fs::absolute(dir), options.resume);
  }
  if (dir.empty()) dir = DefaultOutput(options);
  dir = fs::absolute(dir);
  FTD_ASSIGN_OR_RETURN(const std::string spec, SpecJson(options));
  const bool gpu = engine::DeviceName() != "cpu";
  FTD_ASSIGN_OR_RETURN(v1::AttemptRequest request,
                       FindTrainSources(spec, gpu ? Dtype::kBfloat16 : Dtype::kFloat32));
  request.set_job_name(dir.filename().string());
  request.set_token_cache_dir((dir / ".ftd" / "tokens").string());
  if (!options.log_dir.empty()) request.set_log_dir(fs::absolute(options.log_dir).string());
  if (gpu) request.set_device_lock("/dev/nvidia0");  // the one that the daemon's workers lock
  return TrainOutput::Begin(dir, request);
}

int Finish(const v1::WorkerEvent::End& end, const TrainConsole& console, const TrainOutput& output,
           const std::string& resume_command) {
  if (end.outcome() == v1::WorkerEvent::End::STOPPED) {
    std::fprintf(stderr, "stopped after step %lld; go on with\n  %s\n",
                 static_cast<long long>(end.last_step()), resume_command.c_str());
    return 130;
  }
  std::string message = end.message();
  if (end.outcome() == v1::WorkerEvent::End::SUCCEEDED) {
    const absl::Status published = output.Publish();
    if (published.ok()) {
      console.PrintStatistics();
      return 0;
    }
    message = std::string(published.message());
  }
  std::fprintf(stderr, "\nft-train: %s\n", message.c_str());
  if (!end.hint().empty()) std::fprintf(stderr, "hint: %s\n", end.hint().c_str());
  return 1;
}

}  // namespace

void AddTrainOptions(CLI::App& app, TrainOptions& options) {
  std::vector<std::string> presets;
  for (const auto& [name, unused] : Presets()) presets.push_back(name);
  app.add_option("preset", options.preset, "A script of NVIDIA's playbook: its model and defaults")
      ->check(CLI::IsMember(presets));
  options.spec = options.dataset = Json::object();
  Json &spec = options.spec, &dataset = options.dataset;
  Field<std::string>(app, spec, "model_name", "model", "Directory, alias, or OWNER/NAME of the hub")
      ->type_name("MODEL");
  Word(app, spec, "mode", {"lora", "full", "qlora"}, "Way of fine-tuning [lora]");
  Word(app, spec, "dtype", {"float32", "float16", "bfloat16"},
       "Arithmetic [bfloat16 on a GPU, float32 on the CPU]");
  Word(app, spec, "precision", {"fp32_master", "hf_parity"},
       "Weights and AdamW of mode full: float32, or --dtype as the scripts [fp32_master]");
  Field<int64_t>(app, spec, "batch_size", "batch_size", "Rows in a micro-batch [8]");
  Field<int64_t>(app, spec, "seq_length", "seq_length", "Rows are cut to this many tokens [2048]");
  Field<double>(app, spec, "num_epochs", "num_epochs", "Passes over the data [1]");
  Field<int64_t>(app, spec, "max_steps", "max_steps", "Optimizer steps, instead of epochs");
  Field<int64_t>(app, spec, "gradient_accumulation_steps", "gradient_accumulation_steps",
                 "Micro-batches in a step [1]");
  Field<double>(app, spec, "learning_rate", "learning_rate", "Peak rate [1e-4, full 5e-5]");
  Word(app, spec, "lr_scheduler_type", {"linear", "cosine", "constant", "constant_with_warmup"},
       "How the rate moves over the steps [linear]");
  Field<double>(app, spec, "warmup_steps", "warmup_steps",
                "Steps of linear warm-up; below 1 a share of all [0]");
  Switch(app, spec, "gradient_checkpointing", "Recompute layers: less memory, a third more work");
  app.add_option_function<int64_t>(
      BothSpellings("lora_rank"), [&spec](int64_t rank) { spec["lora"]["rank"] = rank; },
      "Rank of the adapters [8]");
  app.add_option_function<double>(
      BothSpellings("lora_alpha"), [&spec](double alpha) { spec["lora"]["alpha"] = alpha; },
      "The adapter is scaled by alpha / rank [16]");
  app.add_option_function<double>(
      BothSpellings("lora_dropout"), [&spec](double p) { spec["lora"]["dropout"] = p; },
      "Dropout before A [0]");
  app.add_option_function<std::string>(
         BothSpellings("init_adapter"),
         [&spec](const std::string& dir) { spec["lora"]["init_adapter"] = dir; },
         "PEFT adapter directory to start from")
      ->type_name("DIR");
  Field<std::string>(app, dataset, "dataset", "server_path",
                     "File, directory or glob of rows [tatsu-lab/alpaca of the hub]")
      ->type_name("PATH");
  Field<int64_t>(app, dataset, "dataset_size", "size",
                 "First rows to use [512, 70b-lora 500; of a named dataset all]");
  Field<int64_t>(app, spec, "seed", "seed", "Adapters, order of epochs, dropout [42]");
  Field<int64_t>(app, spec, "logging_steps", "logging_steps", "Steps between two log lines [1]");
  Field<int64_t>(app, spec, "save_steps", "save_steps", "Steps between two checkpoints [500]");
  Field<double>(app, spec, "eval_split", "eval_split",
                "Rows kept back to evaluate on: below 1 a share, else a number [0]");
  Field<int64_t>(app, spec, "eval_steps", "eval_steps",
                 "Steps between two evaluations; 0: an epoch [0]");
  Switch(app, spec, "load_best_model_at_end",
         "The result is of the best evaluation, not of the last step");
  Switch(app, spec, "playbook_warmup",
         "Train 0.05 epochs before the first step, as NVIDIA's scripts do");
  app.add_option(BothSpellings("log_dir"), options.log_dir, "TensorBoard's [OUTPUT_DIR/logs]")
      ->type_name("DIR");
  app.add_option(BothSpellings("output_dir"), options.output_dir,
                 "Result and checkpoints [a new directory under outputs/]")
      ->type_name("DIR");
  app.add_option("--resume", options.resume, "Go on from 'latest' or from a checkpoint directory");
}

absl::Status Train(const TrainOptions& options, int* exit_status) {
  engine::InitializeProcess();
  fs::path dir;
  FTD_ASSIGN_OR_RETURN(const TrainOutput output, OpenOutput(options, dir));
  *exit_status = 0;
  if (output.finished()) {
    std::fprintf(stderr, "the run in %s is complete\n", dir.c_str());
    return absl::OkStatus();
  }
  const std::string resume_command =
      absl::StrCat("ft-train --resume latest --output_dir ", dir.string());
  FTD_ASSIGN_OR_RETURN(TrainSpec spec, SpecOf(output.request()));
  StopFlags flags;
  FTD_ASSIGN_OR_RETURN(const auto ear,
                       ControlServer::Start(dir / ".ftd", &flags, [] { ::_exit(1); }));
  const RunPlaces places = output.Places();
  TrainConsole console(spec, engine::DeviceName(), dir.string(), places.tensorboard.string());
  const RunOrder order{.request = output.request(),
                       .spec = spec,
                       .places = places,
                       .hub_token = hub::FindToken(hub::SettingsFromEnvironment())};
  *exit_status = Finish(RunTraining(order, console, flags), console, output, resume_command);
  return absl::OkStatus();
}

}  // namespace ftd

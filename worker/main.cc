// ft-worker: trains one attempt of a job for ftd, and shows what training sees.

#include <algorithm>
#include <filesystem>
#include <functional>
#include <iostream>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "CLI/CLI.hpp"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/cli/generate.h"
#include "lib/cli/help_formatter.h"
#include "lib/cli/run_program.h"
#include "lib/spec/dataset_spec.h"
#include "worker/commands/attempt.h"
#include "worker/commands/export_command.h"
#include "worker/commands/generate_command.h"
#include "worker/commands/logits_command.h"
#include "worker/commands/preview.h"
#include "worker/commands/train_command.h"
#include "worker/records/version.h"

namespace {

// Prints an error and returns the exit status for it.
int ExitStatus(const absl::Status& status, const std::string& program = "ft-worker") {
  if (!status.ok()) std::cerr << program << ": " << status.message() << "\n";
  return ftd::ExitCodeOf(status);
}

// The words are those of a job's dataset.
void AddPreviewOptions(CLI::App& preview, ftd::PreviewOptions& options) {
  preview.add_option("--model", options.model_dir, "Model directory")->type_name("DIR")->required();
  preview.add_option("--dataset", options.dataset, "File, directory or glob")
      ->type_name("PATH")
      ->required();
  preview.add_option("-n", options.n, "Rows to print")->capture_default_str();
  preview
      .add_option("--seq-length,--seq_length", options.seq_length, "Cut rows to this many tokens")
      ->capture_default_str();
  preview.add_option("-o,--output", options.output, "Format")
      ->type_name("json|text")
      ->capture_default_str();
  preview
      .add_option("--dataset-shape,--dataset_shape", options.shape,
                  "What a row consists of [by the columns]")
      ->type_name(absl::StrJoin(ftd::kRowShapeWords, "|"));
  preview.add_option("--columns", options.columns, "FIELD=COLUMN,…");
  preview.add_option("--template", options.prompt_template,
                     R"(Text of a row, such as "Q: {question}\nA: {answer}")");
  preview.add_option("--train-on,--train_on", options.train_on, "Tokens to learn")
      ->type_name(absl::StrJoin(ftd::kTrainOnWords, "|"));
  preview
      .add_option("--chat-template,--chat_template", options.chat_template,
                  "Chat template of conversations: a Jinja file, or chatml, llama3 or gemma [the "
                  "model's own]")
      ->type_name("FILE|NAME");
  preview
      .add_option("--chat-template-date,--chat_template_date", options.chat_template_date,
                  "Day that a chat template prints [today]")
      ->type_name("YYYY-MM-DD");
  preview.add_option("--skip-bad-rows,--skip_bad_rows", options.skip_bad_rows,
                     "Bad rows to pass over");
}

void AddLogitsOptions(CLI::App& logits, ftd::LogitsOptions& options) {
  logits.add_option("--model", options.model_dir, "Model directory")->type_name("DIR")->required();
  logits.add_option("--adapter", options.adapter_dir, "PEFT adapter directory")->type_name("DIR");
  logits.add_option("--input", options.input, "JSON: token ids, or an array of arrays of them")
      ->type_name("FILE")
      ->required();
  logits.add_option("--output", options.output, "New safetensors file")
      ->type_name("FILE")
      ->required();
  logits.add_flag("--nf4", options.nf4, "Quantise the projections, as mode qlora does");
}

void AddExportOptions(CLI::App& exporting, ftd::ExportOptions& options) {
  exporting.add_option("--model", options.model_dir, "Model directory")
      ->type_name("DIR")
      ->required();
  exporting.add_option("--adapter", options.adapter_dir, "PEFT adapter to merge into it")
      ->type_name("DIR");
  exporting.add_option("--output", options.directory, "New directory for the model")
      ->type_name("DIR");
  exporting.add_option("--gguf", options.gguf, "Instead: a new GGUF file, for llama.cpp")
      ->type_name("FILE");
  exporting
      .add_option("--type", options.type,
                  "Type of the GGUF file's matrices [q8_0; f16 for an adapter]")
      ->type_name(ftd::ExportTypes());
  exporting.add_flag("--adapter-only,--adapter_only", options.adapter_only,
                     "Write the adapter alone as a GGUF file");
}

// The options that say which model generates, and where.
void AddGenerationModelOptions(CLI::App& command, ftd::engine::GeneratorOptions& options,
                               std::string& dtype) {
  command.add_option("--model", options.model_dir, "Model directory")->type_name("DIR")->required();
  command.add_option("--adapter", options.adapter_dir, "PEFT adapter directory")->type_name("DIR");
  command.add_flag("--nf4", options.nf4, "Quantise the projections, as mode qlora does");
  command.add_option("--dtype", dtype, "What to compute in")
      ->type_name("float32|bfloat16|float16")
      ->capture_default_str();
  command.add_flag("--cpu", options.on_cpu, "Use the CPU even where there is a GPU");
}

// The options that say what to continue, and how far.
void AddGenerateOptions(CLI::App& generate, ftd::GenerateOptions& options) {
  generate.add_option("--prompt", options.prompts, "Text to continue; may be repeated")
      ->type_name("TEXT");
  generate
      .add_option("--input", options.input,
                  "JSON: an array of texts, of token ids, or of arrays of them")
      ->type_name("FILE");
  generate
      .add_option("--messages", options.messages,
                  "JSON: an array of messages, for the model's chat template")
      ->type_name("FILE");
  generate
      .add_option("--max-new-tokens,--max_new_tokens", options.request.max_new_tokens,
                  "Tokens of an answer, at most")
      ->capture_default_str();
  generate.add_option("--stop", options.request.stops, "Text that ends an answer; may be repeated")
      ->type_name("TEXT");
  generate.add_flag("--ignore-eos,--ignore_eos", options.request.ignore_eos,
                    "Continue past the model's own stop tokens");
  generate.add_option("-o,--output", options.output, "Format")
      ->type_name("json|text")
      ->capture_default_str();
}

void AddSamplingOptions(CLI::App& generate, ftd::SamplingOptions& options) {
  generate
      .add_option("--temperature", options.temperature,
                  "Divides the logits; 0 takes the likeliest token")
      ->capture_default_str();
  generate.add_option("--top-k,--top_k", options.top_k, "Draw from the likeliest so many; 0: all")
      ->capture_default_str();
  generate
      .add_option("--top-p,--top_p", options.top_p,
                  "Draw from the likeliest whose probabilities reach this")
      ->capture_default_str();
  generate
      .add_option("--min-p,--min_p", options.min_p,
                  "Draw from those at least this times as likely as the likeliest")
      ->capture_default_str();
  generate
      .add_option("--repetition-penalty,--repetition_penalty", options.repetition_penalty,
                  "Makes tokens that the text has less likely; 1: no less")
      ->capture_default_str();
  generate.add_option("--seed", options.seed, "Of the draws")->capture_default_str();
}

// Describes a command for the manual and for shells.
ftd::ProgramDoc Describe(const CLI::App& command, const std::string& name,
                         const std::string& summary) {
  ftd::ProgramDoc program{.command = ftd::DescribeCommand(command), .version = ftd::kVersion};
  program.command.name = name;
  program.command.summary = summary;
  program.sections = {
      {"EXIT STATUS",
       {{"0", "Done."},
        {"1", "Training failed."},
        {"2", "The command line itself."},
        {"65 to 77", "As of ftctl: the input, the output, the hub or a right is at fault."},
        {"130", "A signal stopped it; the run can continue from its checkpoint."}}},
      {"SEE ALSO", {{"ftctl(1), ftd(8), ft-train(1), ft-worker(1)", "The rest of ftd."}}}};
  return program;
}

std::string Version(const char* program) {
  return absl::StrCat(program, " ", ftd::kVersion, " (", ftd::kRevision, "), LibTorch ",
                      ftd::kTorchVersion);
}

int RunTrain(const ftd::TrainOptions& options) {
  int exit_status = 0;
  const int refused = ExitStatus(ftd::Train(options, &exit_status), "ft-train");
  return refused != 0 ? refused : exit_status;
}

// Returns the exit status, unless `app` was parsed and there is something to do.
std::optional<int> Parse(CLI::App& app, int argc, char** argv,
                         const std::function<ftd::ProgramDoc()>& describe) {
  int generated = 0;
  if (ftd::IsGenerateCall(argc, argv, describe, &generated)) return generated;
  try {
    std::vector<std::string> args = ftd::TrainArguments({argv + 1, argv + argc});
    std::reverse(args.begin(), args.end());  // CLI11's order
    app.parse(std::move(args));
  } catch (const CLI::ParseError& error) {
    return app.exit(error) == 0 ? 0 : 2;
  }
  return std::nullopt;
}

// The same as `ft-worker train`, but without the other commands in its help.
int TrainMain(int argc, char** argv) {
  CLI::App app("Fine-tune a language model in the foreground.", "ft-train");
  app.formatter(std::make_shared<ftd::HelpFormatter>());
  app.set_version_flag("--version", Version("ft-train"));
  ftd::TrainOptions options;
  ftd::AddTrainOptions(app, options);
  const auto describe = [&] {
    return Describe(app, "ft-train", "fine-tune a language model in the foreground");
  };
  if (const auto done = Parse(app, argc, argv, describe)) return *done;
  return RunTrain(options);
}

int WorkerMain(int argc, char** argv) {
  CLI::App app("The training process of ftd. Usually started by the daemon.", "ft-worker");
  app.formatter(std::make_shared<ftd::HelpFormatter>());
  app.set_version_flag("--version", Version("ft-worker"));
  app.require_subcommand(1);

  std::string attempt_dir;
  int lock_fd = -1, token_fd = -1;
  CLI::App* attempt =
      app.add_subcommand("attempt", "Run the attempt that a directory describes (for ftd).");
  attempt->add_option("--dir", attempt_dir, "The attempt's directory, with request.json")
      ->type_name("DIR")
      ->required();
  attempt->add_option("--lock-fd", lock_fd, "Inherited descriptor of worker.lock");
  attempt->add_option("--token-fd", token_fd, "Inherited descriptor to read the hub token from");

  ftd::PreviewOptions preview_options;
  CLI::App* preview = app.add_subcommand("preview", "Print rows exactly as training sees them.");
  AddPreviewOptions(*preview, preview_options);

  ftd::LogitsOptions logits_options;
  CLI::App* logits = app.add_subcommand("logits", "Write the model's logits for given token ids.");
  AddLogitsOptions(*logits, logits_options);

  ftd::ExportOptions export_options;
  CLI::App* exporting = app.add_subcommand(
      "export", "Merge an adapter into its model, or write either as a GGUF file.");
  AddExportOptions(*exporting, export_options);

  ftd::GenerateOptions generate_options;
  CLI::App* generate = app.add_subcommand("generate", "Continue prompts with a model.");
  AddGenerationModelOptions(*generate, generate_options.model, generate_options.dtype);
  AddGenerateOptions(*generate, generate_options);
  AddSamplingOptions(*generate, generate_options.request.sampling);

  ftd::TrainOptions train_options;
  CLI::App* train = app.add_subcommand("train", "Fine-tune in the foreground (also: ft-train).");
  ftd::AddTrainOptions(*train, train_options);

  const auto describe = [&] { return Describe(app, "ft-worker", "the training process of ftd"); };
  if (const auto done = Parse(app, argc, argv, describe)) return *done;
  if (*attempt) return ftd::RunAttempt(attempt_dir, lock_fd, token_fd);
  if (*train) return RunTrain(train_options);
  // A model's files are read where its directory really is.
  for (auto* dir :
       {&preview_options.model_dir, &logits_options.model_dir, &logits_options.adapter_dir,
        &export_options.model_dir, &export_options.adapter_dir, &generate_options.model.model_dir,
        &generate_options.model.adapter_dir})
    if (!dir->empty()) *dir = ftd::WithoutLinks(*dir);
  if (*preview) return ExitStatus(ftd::Preview(preview_options, std::cout));
  if (*exporting) return ExitStatus(ftd::RunExport(export_options, std::cerr));
  if (*generate) return ExitStatus(ftd::Generate(generate_options, std::cout));
  return ExitStatus(ftd::Logits(logits_options));
}

}  // namespace

// ft-train executes this program under its own name.
int main(int argc, char** argv) {
  const bool is_train = std::filesystem::path(argv[0]).filename() == "ft-train";
  return ftd::RunProgram(is_train ? "ft-train" : "ft-worker", argc, argv,
                         [&] { return (is_train ? TrainMain : WorkerMain)(argc, argv); });
}

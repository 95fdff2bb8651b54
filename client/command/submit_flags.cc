#include "client/command/submit_flags.h"

#include <filesystem>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "client/base/uuid.h"
#include "lib/base/error.h"
#include "lib/spec/dataset_spec.h"

namespace ftd {
namespace {

using ftd::v1::JobSpec;

void AddModelAndData(Flags& flags, SubmitFlags* submit) {
  JobSpec* spec = submit->request.mutable_spec();
  flags.Group("Model and data");
  flags.Choice(
      "--mode",
      "lora: adapters on a frozen model; full: all weights; qlora: adapters on a 4-bit model",
      {"lora", "full", "qlora"}, &submit->mode);
  flags.Text(
      "--model,--model-name", "Directory in Hugging Face's layout, or an alias that ftd knows",
      [spec](const std::string& v) { spec->set_model(v); }, "MODEL");
  flags.Text("--revision", "Branch, tag or commit of a hub model [main]",
             [spec](const std::string& v) { spec->set_revision(v); });
  flags.Text("--dataset",
             "Rows: a file (.jsonl, .json, .csv, .tsv, .parquet, .arrow), a directory or a quoted "
             "glob, sent to ftd; or OWNER/NAME on the hub [tatsu-lab/alpaca, 512 rows]",
             &submit->dataset, "PATH");
  flags.Text("--dataset-revision", "Branch, tag or commit of a hub dataset [main]",
             &submit->hub_dataset.revision);
  flags.Text("--dataset-config", "Configuration of a hub dataset, where it has several",
             &submit->hub_dataset.config);
  flags.Text("--dataset-split", "Split of a hub dataset [train]", &submit->hub_dataset.split);
  flags.Int64("--dataset-size", "Use the first N rows [all]",
              [spec](int64_t v) { spec->mutable_dataset()->set_size(v); });
  flags.Choice("--dataset-shape", "What a row consists of [by its columns]",
               {"alpaca", "text", "prompt-completion"}, &submit->dataset_shape);
  flags.Text("--columns", "Columns that hold a shape's fields: instruction=question,output=answer",
             &submit->columns);
  flags.Text("--template",
             "Text of a row made of its columns: \"Q: {question}\\nA: {answer}\"; \\n and \\t are "
             "read as newline and tab",
             [spec](const std::string& v) {
               spec->mutable_dataset()->set_template_(UnescapedTemplate(v));
             });
  flags.Choice("--train-on", "Tokens to learn [completions for prompt-completion rows, else all]",
               {"all", "completions"}, &submit->train_on);
  flags.Int64("--dataset-shuffle-seed", "Order the rows as datasets' shuffle(seed) does, first",
              [spec](int64_t v) { spec->mutable_dataset()->set_shuffle_seed(v); });
  flags.Int64("--skip-bad-rows", "Bad rows to pass over before one fails the job [0]",
              [spec](int64_t v) { spec->mutable_dataset()->set_skip_bad_rows(v); });
  flags.Int32("--seq-length", "Cut rows to this many tokens [2048]",
              [spec](int32_t v) { spec->set_seq_length(v); });
  flags.Switch("--shuffle,!--no-shuffle", "Visit the rows in a new random order each epoch [on]",
               [spec](bool v) { spec->set_shuffle(v); });
  for (const char* name : {"--mode", "--model"}) flags.Require(name);
}

void AddComputation(Flags& flags, SubmitFlags* submit) {
  JobSpec* spec = submit->request.mutable_spec();
  flags.ChoiceOrBare("--gradient-checkpointing",
                     "Compute layers again in the backward pass: less memory, up to a third more "
                     "work; auto: on a GPU as many as its free memory asks for, on a CPU none "
                     "[auto; bare: on]",
                     {"auto", "on", "off"}, "on", &submit->gradient_checkpointing);
  flags.Switch("--no-gradient-checkpointing", "The same as --gradient-checkpointing off",
               [submit](bool) { submit->gradient_checkpointing = "off"; });
  flags.Switch("--no-deterministic",
               "Faster kernels on a GPU; a resumed run may differ from an unbroken one in last "
               "bits [deterministic]",
               [spec](bool) { spec->set_deterministic(false); });
}

void AddTraining(Flags& flags, SubmitFlags* submit) {
  JobSpec* spec = submit->request.mutable_spec();
  flags.Group("Training");
  flags.Double("--num-epochs", "Passes over the data [1]",
               [spec](double v) { spec->set_num_epochs(v); });
  flags.Int64("--max-steps", "Optimizer steps; beats --num-epochs",
              [spec](int64_t v) { spec->set_max_steps(v); });
  flags.Int32("--batch-size", "Rows in a micro-batch [8]",
              [spec](int32_t v) { spec->set_batch_size(v); });
  flags.Int32("--gradient-accumulation-steps", "Micro-batches in an optimizer step [1]",
              [spec](int32_t v) { spec->set_gradient_accumulation_steps(v); });
  flags.Double("--learning-rate", "Peak learning rate [lora 1e-4, full 5e-5]",
               [spec](double v) { spec->set_learning_rate(v); });
  flags.Choice("--lr-scheduler-type", "How the rate moves over the steps [linear]",
               {"linear", "cosine", "cosine_with_min_lr", "constant", "constant_with_warmup"},
               &submit->lr_scheduler_type);
  flags.Double("--warmup-steps", "Steps of linear warm-up; below 1 a share of all [0]",
               [spec](double v) { spec->set_warmup_steps(v); });
  flags.Double("--min-lr", "Where cosine_with_min_lr ends: a rate",
               [spec](double v) { spec->set_min_lr(v); });
  flags.Double("--min-lr-rate", "Where cosine_with_min_lr ends: a share of the peak",
               [spec](double v) { spec->set_min_lr_rate(v); });
  flags.Double("--weight-decay", "Decoupled weight decay [0]",
               [spec](double v) { spec->set_weight_decay(v); });
  flags.Double("--max-grad-norm", "Clip gradients to this norm [1]",
               [spec](double v) { spec->set_max_grad_norm(v); });
  flags.Int64("--seed", "Seed of everything random [42]", [spec](int64_t v) { spec->set_seed(v); });
  flags.Choice("--dtype", "Arithmetic [bfloat16 on CUDA, float32 on the CPU]",
               {"float32", "bfloat16", "float16"}, &submit->dtype);
  flags.Choice("--precision",
               "Weights and AdamW of a full job: float32, or --dtype as Hugging Face [fp32_master]",
               {"fp32_master", "hf_parity"}, &submit->precision);
  flags.Double("--eval-split", "Rows kept back to evaluate on: below 1 a share, else a number [0]",
               [spec](double v) { spec->set_eval_split(v); });
  flags.Int32("--eval-steps", "Steps between two evaluations; 0: an epoch [0]",
              [spec](int32_t v) { spec->set_eval_steps(v); });
  flags.Switch("--load-best-model-at-end,!--no-load-best-model-at-end",
               "The result is of the best evaluation, not of the last step [off]",
               [spec](bool v) { spec->set_load_best_model_at_end(v); });
  AddComputation(flags, submit);
}

void AddLora(Flags& flags, SubmitFlags* submit) {
  // The message is made only when a flag asks for it: an empty `lora` on a full job would be a
  // mistake.
  JobSpec* spec = submit->request.mutable_spec();
  flags.Group("LoRA");
  flags.Int32("--lora-rank", "Rank [8]", [spec](int32_t v) { spec->mutable_lora()->set_rank(v); });
  flags.Switch("--use-rslora", "Scale by alpha / sqrt(rank): for high ranks [off]",
               [spec](bool v) { spec->mutable_lora()->set_use_rslora(v); });
  flags.Double("--lora-alpha", "Alpha; the adapter is scaled by alpha / rank [16]",
               [spec](double v) { spec->mutable_lora()->set_alpha(v); });
  flags.Double("--lora-dropout", "Dropout before A [0]",
               [spec](double v) { spec->mutable_lora()->set_dropout(v); });
  flags.Text(
      "--target-modules", "Comma-separated projections, or all-linear [all seven]",
      [spec](const std::string& v) {
        spec->mutable_lora()->clear_target_modules();
        for (absl::string_view name : absl::StrSplit(v, ',', absl::SkipEmpty())) {
          spec->mutable_lora()->add_target_modules(std::string(absl::StripAsciiWhitespace(name)));
        }
      });
  flags.Text(
      "--init-adapter", "PEFT adapter directory to start from",
      [spec](const std::string& v) { spec->mutable_lora()->set_init_adapter(v); }, "DIR");
}

void AddRecordKeeping(Flags& flags, SubmitFlags* submit) {
  auto* request = &submit->request;
  JobSpec* spec = request->mutable_spec();
  flags.Group("Logs, checkpoints, queue");
  flags.Int32("--logging-steps", "Steps between two printed points [1]",
              [spec](int32_t v) { spec->set_logging_steps(v); });
  flags.Int32("--save-steps", "Steps between two checkpoints; 0: only when stopped [500]",
              [spec](int32_t v) { spec->set_save_steps(v); });
  flags.Int32("--save-total-limit", "Newest checkpoints kept [2]",
              [spec](int32_t v) { spec->set_save_total_limit(v); });
  flags.Text("--name", "Name to use instead of the id: a-z, 0-9 and -, at most 63",
             [request](const std::string& v) { request->set_name(v); });
  flags.Int32("--priority", "Higher runs earlier, -1000 to 1000 [0]",
              [request](int32_t v) { request->set_priority(v); });
  flags.Repeated("--label", "May be given several times", &submit->labels, "KEY=VALUE");
  flags.Text("--request-id", "UUID that makes a repeated submit the same job [a new one]",
             [request](const std::string& v) { request->set_request_id(v); });
}

std::string Absolute(const std::string& path) {
  std::error_code error;
  const auto absolute = std::filesystem::absolute(path, error).lexically_normal();
  return error ? path : absolute.string();
}

// A directory here, or what can only be meant as one, becomes absolute; anything else is an alias.
std::string ModelArgument(const std::string& model) {
  std::error_code error;
  const bool path_like = !model.empty() && (model[0] == '/' || model[0] == '.');
  return path_like || std::filesystem::is_directory(model, error) ? Absolute(model) : model;
}

absl::Status CompleteDataset(const SubmitFlags& submit, JobSpec* spec) {
  using ftd::v1::Dataset;
  if (!submit.dataset_shape.empty()) {
    Dataset::Shape shape = Dataset::SHAPE_UNSPECIFIED;
    Dataset::Shape_Parse(EnumWord(submit.dataset_shape), &shape);
    spec->mutable_dataset()->set_shape(shape);
  }
  if (!submit.train_on.empty()) {
    Dataset::TrainOn train_on = Dataset::TRAIN_ON_UNSPECIFIED;
    Dataset::TrainOn_Parse(EnumWord(submit.train_on), &train_on);
    spec->mutable_dataset()->set_train_on(train_on);
  }
  FTD_ASSIGN_OR_RETURN(const auto columns, ParseColumnMap(submit.columns));
  for (const auto& [field, column] : columns)
    (*spec->mutable_dataset()->mutable_columns())[field] = column;
  return absl::OkStatus();
}

}  // namespace

void AddSubmitFlags(Flags& flags, SubmitFlags* submit) {
  AddModelAndData(flags, submit);
  AddTraining(flags, submit);
  AddLora(flags, submit);
  AddRecordKeeping(flags, submit);
  flags.Group("Options");
}

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

absl::Status CompleteRequest(SubmitFlags* submit) {
  auto& request = submit->request;
  JobSpec* spec = request.mutable_spec();
  JobSpec::Mode mode = JobSpec::MODE_UNSPECIFIED;
  JobSpec::Mode_Parse(absl::AsciiStrToUpper(submit->mode), &mode);
  spec->set_mode(mode);
  spec->set_model(ModelArgument(spec->model()));
  if (!submit->dtype.empty()) {
    JobSpec::Dtype dtype = JobSpec::DTYPE_UNSPECIFIED;
    JobSpec::Dtype_Parse(absl::AsciiStrToUpper(submit->dtype), &dtype);
    spec->set_dtype(dtype);
  }
  if (!submit->precision.empty()) {
    JobSpec::Precision precision = JobSpec::PRECISION_UNSPECIFIED;
    JobSpec::Precision_Parse(EnumWord(submit->precision), &precision);
    spec->set_precision(precision);
  }
  if (!submit->lr_scheduler_type.empty()) {
    JobSpec::LrSchedulerType type = JobSpec::LR_SCHEDULER_TYPE_UNSPECIFIED;
    JobSpec::LrSchedulerType_Parse(EnumWord(submit->lr_scheduler_type), &type);
    spec->set_lr_scheduler_type(type);
  }
  if (const std::string& which = submit->gradient_checkpointing; which == "on" || which == "off")
    spec->set_gradient_checkpointing(which == "on");
  FTD_RETURN_IF_ERROR(CompleteDataset(*submit, spec));
  if (spec->has_lora() && !spec->lora().init_adapter().empty()) {
    spec->mutable_lora()->set_init_adapter(Absolute(spec->lora().init_adapter()));
  }
  FTD_RETURN_IF_ERROR(ParseLabels(submit->labels, request.mutable_labels()));
  if (request.request_id().empty()) request.set_request_id(NewUuid());
  return absl::OkStatus();
}

}  // namespace ftd

#include "worker/commands/preview.h"

#include <cstdio>
#include <memory>
#include <vector>

#include "lib/base/error.h"
#include "lib/data/dataset_files.h"
#include "lib/data/dataset_reader.h"
#include "lib/data/row_encoder.h"
#include "lib/spec/dataset_spec.h"
#include "lib/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"
#include "worker/run/columnar.h"

namespace ftd {
namespace {

using nlohmann::json;

std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

// Goes through the spec of a job, so that the same words and rules apply.
absl::StatusOr<DatasetSpec> Judge(const PreviewOptions& options) {
  std::vector<FieldViolation> violations;
  if (options.n < 1) violations.push_back({"n", "must be at least 1"});
  if (options.seq_length < 1) violations.push_back({"seq-length", "must be at least 1"});
  if (options.output != "json" && options.output != "text")
    violations.push_back({"output", "must be json or text"});
  json dataset = {{"server_path", options.dataset}, {"size", options.n}};
  if (!options.shape.empty()) dataset["shape"] = EnumWord(options.shape);
  if (!options.train_on.empty()) dataset["train_on"] = EnumWord(options.train_on);
  dataset["template"] = UnescapedTemplate(options.prompt_template);
  dataset["skip_bad_rows"] = options.skip_bad_rows;
  FTD_ASSIGN_OR_RETURN(dataset["chat_template"], ChatTemplateMeant(options.chat_template));
  dataset["chat_template_date"] =
      options.chat_template_date.empty() ? Today() : options.chat_template_date;
  FTD_ASSIGN_OR_RETURN(dataset["columns"], ParseColumnMap(options.columns));
  DatasetSpec spec;
  ReadDatasetSpec(dataset, &spec, &violations);
  if (!violations.empty()) return FieldError(violations);
  return spec;
}

// A JSON list with a row on each line.
void WriteRowsJson(const RowEncoder& encoder, const std::vector<Example>& examples,
                   std::ostream& out) {
  for (size_t i = 0; i < examples.size(); ++i) {
    const TokenizedRow row = encoder.Encode(examples[i]);
    out << (i == 0 ? "[\n" : ",\n")
        << Dump({{"text", encoder.WithEos(examples[i])},
                 {"input_ids", row.input_ids},
                 {"labels", row.labels}});
  }
  out << "\n]\n";
}

// One token a line: id, label (-100 where it is not learned), text.
void WriteRowsText(const RowEncoder& encoder, const std::vector<Example>& examples,
                   std::ostream& out) {
  for (size_t i = 0; i < examples.size(); ++i) {
    const TokenizedRow row = encoder.Encode(examples[i]);
    out << "row " << i + 1 << ": " << row.input_ids.size() << " tokens\n";
    for (size_t t = 0; t < row.input_ids.size(); ++t) {
      out << row.input_ids[t] << '\t' << row.labels[t] << '\t'
          << Dump(encoder.tokenizer->Decode({row.input_ids[t]})) << '\n';
    }
  }
}

// `size` of the spec ends the reading, so a large file costs only the rows that are shown.
absl::StatusOr<std::vector<Example>> ReadExamples(const std::filesystem::path& model_dir,
                                                  const DatasetSpec& spec,
                                                  const Tokenizer& tokenizer) {
  DatasetOptions options{
      .rules = spec.rules,
      .limit = spec.size,
      .skip_bad_rows = spec.skip_bad_rows,
      .open_columnar = kOpenColumnar,
      .chat = std::make_shared<ChatSource>(model_dir, spec.rules.chat, &tokenizer)};
  FTD_ASSIGN_OR_RETURN(const auto files, FindDatasetFiles(spec.server_path));
  for (const LocalDatasetFile& file : files) options.files.push_back({file.path, file.name, ""});
  DatasetReader reader(std::move(options));
  std::vector<Example> examples;
  Example example;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool found, reader.Next(&example));
    if (!found) break;
    examples.push_back(std::move(example));
  }
  for (const std::string& reason : reader.skipped_reasons())
    std::fprintf(stderr, "skipped: %s\n", reason.c_str());
  return examples;
}

}  // namespace

// Needs the tokenizer but no weights.
absl::Status Preview(const PreviewOptions& options, std::ostream& out) {
  FTD_ASSIGN_OR_RETURN(const DatasetSpec spec, Judge(options));
  FTD_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(options.model_dir));
  FTD_ASSIGN_OR_RETURN(const RowEncoder encoder,
                       MakeRowEncoder(options.model_dir, *tokenizer, options.seq_length));
  FTD_ASSIGN_OR_RETURN(const std::vector<Example> examples,
                       ReadExamples(options.model_dir, spec, *tokenizer));
  (options.output == "json" ? WriteRowsJson : WriteRowsText)(encoder, examples, out);
  out.flush();
  return out ? absl::OkStatus()
             : absl::UnavailableError("cannot write the rows: the output is closed or full");
}

}  // namespace ftd

#include "worker/preview.h"

#include <vector>

#include "artifacts/dataset.h"
#include "artifacts/error.h"
#include "artifacts/tokenizer.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using nlohmann::json;

std::string Dump(const json& value) {
  return value.dump(-1, ' ', false, json::error_handler_t::replace);
}

absl::Status Judge(const PreviewOptions& options) {
  std::vector<FieldViolation> violations;
  if (options.n < 1) violations.push_back({"n", "must be at least 1"});
  if (options.seq_length < 1) violations.push_back({"seq-length", "must be at least 1"});
  if (options.output != "json" && options.output != "text")
    violations.push_back({"output", "must be json or text"});
  return violations.empty() ? absl::OkStatus() : FieldError(violations);
}

void WriteJson(const RowEncoder& encoder, const std::vector<std::string>& texts,
               std::ostream& out) {
  for (size_t i = 0; i < texts.size(); ++i) {
    const TokenizedRow row = encoder.Encode(texts[i]);
    out << (i == 0 ? "[\n" : ",\n")
        << Dump({{"text", encoder.WithEos(texts[i])},
                 {"input_ids", row.input_ids},
                 {"labels", row.labels}});
  }
  out << "\n]\n";
}

void WriteText(const RowEncoder& encoder, const std::vector<std::string>& texts,
               std::ostream& out) {
  for (size_t i = 0; i < texts.size(); ++i) {
    const TokenizedRow row = encoder.Encode(texts[i]);
    out << "row " << i + 1 << ": " << row.input_ids.size() << " tokens\n";
    for (size_t t = 0; t < row.input_ids.size(); ++t) {
      out << row.input_ids[t] << '\t' << row.labels[t] << '\t'
          << Dump(encoder.tokenizer->Decode({row.input_ids[t]})) << '\n';
    }
  }
}

}  // namespace

absl::Status Preview(const PreviewOptions& options, std::ostream& out) {
  FTD_RETURN_IF_ERROR(Judge(options));
  FTD_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(options.model_dir / "tokenizer.json"));
  FTD_ASSIGN_OR_RETURN(const RowEncoder encoder,
                       MakeRowEncoder(options.model_dir, *tokenizer, options.seq_length));
  FTD_ASSIGN_OR_RETURN(const std::vector<std::string> texts,
                       ReadTexts(options.dataset, options.dataset.filename().string(), options.n));
  (options.output == "json" ? WriteJson : WriteText)(encoder, texts, out);
  out.flush();
  return out ? absl::OkStatus()
             : absl::UnavailableError("cannot write the rows: the output is closed or full");
}

}  // namespace ftd

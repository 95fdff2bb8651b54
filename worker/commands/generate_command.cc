#include "worker/commands/generate_command.h"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "nlohmann/json.hpp"
#include "worker/commands/prompt_file.h"

namespace ftd {
namespace {

using Clock = std::chrono::steady_clock;

std::optional<Dtype> ParseDtype(const std::string& word) {
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16, Dtype::kFloat16})
    if (DtypeName(dtype) == word) return dtype;
  return std::nullopt;
}

absl::Status Judge(const GenerateOptions& options) {
  std::vector<FieldViolation> violations = ViolationsOf(JudgeAnswerRequest(options.request));
  const int sources = (options.prompts.empty() ? 0 : 1) + (options.input.empty() ? 0 : 1) +
                      (options.messages.empty() ? 0 : 1);
  if (sources != 1) violations.push_back({"prompt", "give --prompt, --input or --messages"});
  if (!ParseDtype(options.dtype))
    violations.push_back({"dtype", "must be float32, bfloat16 or float16"});
  if (options.output != "json" && options.output != "text")
    violations.push_back({"output", "must be json or text"});
  return violations.empty() ? absl::OkStatus() : FieldError(violations);
}

absl::StatusOr<std::vector<std::vector<int32_t>>> Prompts(const GenerateOptions& options,
                                                          const Generation& generation) {
  if (!options.input.empty()) return ReadPrompts(options.input, generation.tokenizer());
  std::vector<std::vector<int32_t>> prompts;
  for (const std::string& text : options.prompts) prompts.push_back(generation.PromptOf(text));
  if (!options.messages.empty()) {
    FTD_ASSIGN_OR_RETURN(const std::string messages, ReadFile(options.messages));
    FTD_ASSIGN_OR_RETURN(prompts.emplace_back(), generation.PromptOfMessages(messages));
  }
  return prompts;
}

struct Answer {
  std::vector<int32_t> ids;
  std::string text;
  std::string_view finish_reason;
  double first_token_seconds = 0, seconds = 0;  // since the first step began
};

// Steps until all have ended; answers are numbered from 0. Text goes to `live` as it comes, unless
// that is null.
absl::Status Run(Generation& generation, std::vector<Answer>* answers, std::ostream* live) {
  const Clock::time_point begin = Clock::now();
  while (!generation.idle()) {
    FTD_ASSIGN_OR_RETURN(const std::vector<AnswerPiece> pieces, generation.Step());
    const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
    for (const AnswerPiece& piece : pieces) {
      Answer& answer = (*answers)[static_cast<size_t>(piece.answer)];
      if (answer.ids.empty()) answer.first_token_seconds = seconds;
      answer.seconds = seconds;
      answer.ids.push_back(piece.token);
      answer.text += piece.text;
      answer.finish_reason = piece.finish_reason;
      if (live != nullptr) *live << piece.text << std::flush;
    }
  }
  return absl::OkStatus();
}

void WriteAnswersJson(const std::vector<std::vector<int32_t>>& prompts,
                      const std::vector<Answer>& answers, const std::string& device,
                      std::ostream& out) {
  for (size_t i = 0; i < answers.size(); ++i) {
    const Answer& answer = answers[i];
    const nlohmann::json line = {{"text", answer.text},
                                 {"token_ids", answer.ids},
                                 {"finish_reason", answer.finish_reason},
                                 {"prompt_tokens", prompts[i].size()},
                                 {"device", device},
                                 {"first_token_seconds", answer.first_token_seconds},
                                 {"seconds", answer.seconds}};
    out << line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) << '\n';
  }
}

}  // namespace

absl::Status Generate(GenerateOptions options, std::ostream& out) {
  FTD_RETURN_IF_ERROR(Judge(options));
  options.model.dtype = *ParseDtype(options.dtype);
  FTD_ASSIGN_OR_RETURN(const auto generation, Generation::Load(options.model));
  FTD_ASSIGN_OR_RETURN(const auto prompts, Prompts(options, *generation));
  for (const std::vector<int32_t>& prompt : prompts) {
    options.request.prompt = prompt;
    FTD_RETURN_IF_ERROR(generation->Ask(options.request).status());
  }
  std::vector<Answer> answers(prompts.size());
  const bool as_json = options.output == "json", one = answers.size() == 1;
  FTD_RETURN_IF_ERROR(Run(*generation, &answers, one && !as_json ? &out : nullptr));
  if (as_json) {
    WriteAnswersJson(prompts, answers, generation->device(), out);
  } else {
    for (const Answer& answer : answers) out << (one ? "" : answer.text) << '\n';
  }
  out.flush();
  return out ? absl::OkStatus()
             : absl::UnavailableError("cannot write the answers: the output is closed or full");
}

}  // namespace ftd

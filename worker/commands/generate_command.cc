#include "worker/commands/generate_command.h"

#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <utility>

#include "lib/base/error.h"
#include "lib/data/row_encoder.h"
#include "lib/generation/text_stream.h"
#include "lib/spec/judge.h"
#include "lib/tokenizer/tokenizer.h"
#include "nlohmann/json.hpp"
#include "worker/commands/prompt_file.h"
#include "worker/engine/generate.h"
#include "worker/engine/train.h"

namespace ftd {
namespace {

using Clock = std::chrono::steady_clock;

std::optional<Dtype> ParseDtype(const std::string& word) {
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16, Dtype::kFloat16})
    if (DtypeName(dtype) == word) return dtype;
  return std::nullopt;
}

absl::Status Judge(const GenerateOptions& options) {
  std::vector<FieldViolation> violations = ViolationsOf(JudgeSampling(options.sampling));
  const int sources = (options.prompts.empty() ? 0 : 1) + (options.input.empty() ? 0 : 1) +
                      (options.messages.empty() ? 0 : 1);
  if (sources != 1) violations.push_back({"prompt", "give --prompt, --input or --messages"});
  if (options.max_new_tokens < 1) violations.push_back({"max-new-tokens", "must be at least 1"});
  if (!ParseDtype(options.dtype))
    violations.push_back({"dtype", "must be float32, bfloat16 or float16"});
  if (options.output != "json" && options.output != "text")
    violations.push_back({"output", "must be json or text"});
  for (const std::string& stop : options.stops)
    if (stop.empty()) violations.push_back({"stop", "must not be empty"});
  return violations.empty() ? absl::OkStatus() : FieldError(violations);
}

absl::StatusOr<std::vector<std::vector<int32_t>>> Prompts(const GenerateOptions& options,
                                                          const Tokenizer& tokenizer) {
  if (!options.input.empty()) return ReadPrompts(options.input, tokenizer);
  std::vector<std::vector<int32_t>> prompts;
  for (const std::string& text : options.prompts)
    prompts.push_back(tokenizer.Encode(text, /*add_special_tokens=*/true));
  if (!options.messages.empty()) {
    // A chat template writes the special tokens itself.
    FTD_ASSIGN_OR_RETURN(const std::string text,
                         ReadMessages(options.messages, options.model_dir, tokenizer));
    prompts.push_back(tokenizer.Encode(text, /*add_special_tokens=*/false));
  }
  return prompts;
}

// One prompt and what came of it.
struct Answer {
  TextStream stream;
  std::vector<int32_t> ids;
  std::string text, finish_reason;
  double first_token_seconds = 0, seconds = 0;  // since the first step began
};

// Takes a token and returns the text that it brings.
std::string Take(const engine::NextToken& next, double seconds, Answer* answer) {
  if (answer->ids.empty()) answer->first_token_seconds = seconds;
  answer->seconds = seconds;
  answer->ids.push_back(next.token);
  const bool at_stop = next.finish == engine::Finish::kStop;
  std::string piece;
  if (!at_stop) piece = answer->stream.Add(next.token);
  if (next.finish != engine::Finish::kNone) piece += answer->stream.Finish();
  if (answer->stream.stopped() || at_stop) {
    answer->finish_reason = "stop";
  } else if (next.finish == engine::Finish::kLength) {
    answer->finish_reason = "length";
  }
  answer->text += piece;
  return piece;
}

// Steps until all have ended. Text goes to `live` as it comes, unless that is null.
void Run(engine::Generator& generator, std::map<int64_t, Answer*> answers, std::ostream* live) {
  const Clock::time_point begin = Clock::now();
  while (!generator.idle()) {
    for (const engine::NextToken& next : generator.Step()) {
      Answer* answer = answers.at(next.sequence);
      const std::string piece =
          Take(next, std::chrono::duration<double>(Clock::now() - begin).count(), answer);
      if (answer->stream.stopped()) generator.Remove(next.sequence);
      if (live != nullptr) *live << piece << std::flush;
    }
  }
}

void WriteJson(const std::vector<std::vector<int32_t>>& prompts, const std::vector<Answer>& answers,
               const std::string& device, std::ostream& out) {
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

absl::Status Generate(const GenerateOptions& options, std::ostream& out) {
  FTD_RETURN_IF_ERROR(Judge(options));
  FTD_RETURN_IF_ERROR(JudgeModel(options.model_dir).status());
  FTD_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(options.model_dir));
  FTD_ASSIGN_OR_RETURN(const auto prompts, Prompts(options, *tokenizer));
  // A model that names no end of a sequence has none.
  const auto encoder = MakeRowEncoder(options.model_dir, *tokenizer, /*seq_length=*/0);
  const bool stops = encoder.ok() && !options.ignore_eos;
  try {
    engine::InitializeProcess();
    engine::Generator generator({options.model_dir, options.adapter_dir, *ParseDtype(options.dtype),
                                 options.nf4, options.on_cpu});
    std::vector<Answer> answers;
    std::map<int64_t, Answer*> by_sequence;
    answers.reserve(prompts.size());
    for (const std::vector<int32_t>& prompt : prompts) {
      answers.push_back({TextStream(*tokenizer, prompt, options.stops), {}, {}, {}});
      const int64_t sequence =
          generator.Add({prompt, stops ? encoder->stop_ids : std::vector<int32_t>{},
                         options.max_new_tokens, options.sampling});
      by_sequence[sequence] = &answers.back();
    }
    const bool as_json = options.output == "json", one = answers.size() == 1;
    Run(generator, std::move(by_sequence), one && !as_json ? &out : nullptr);
    if (as_json) {
      WriteJson(prompts, answers, generator.device(), out);
    } else {
      for (const Answer& answer : answers) out << (one ? "" : answer.text) << '\n';
    }
  } catch (const engine::EngineError& error) {
    return absl::FailedPreconditionError(error.what());
  }
  out.flush();
  return out ? absl::OkStatus()
             : absl::UnavailableError("cannot write the answers: the output is closed or full");
}

}  // namespace ftd

#include "worker/run/generation_request.h"

#include <limits>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/base/field_reader.h"
#include "lib/base/json.h"

namespace ftd {
namespace {

using nlohmann::json;

constexpr std::string_view kFields[] = {
    "prompt", "messages", "prompt_ids", "max_new_tokens",     "stop", "temperature",
    "top_k",  "top_p",    "min_p",      "repetition_penalty", "seed", "ignore_eos"};

// Reads a list of one type; *list is left alone where the field is absent.
template <typename Element>
void ReadList(FieldReader& reader, const char* name, const char* what, bool (json::*is)() const,
              std::vector<Element>* list) {
  if (!reader.Has(name)) return;
  const json& field = reader.At(name);
  bool good = field.is_array();
  for (const json& element : field) good = good && (element.*is)();
  if (!good) return reader.Violate(name, what);
  for (const json& element : field) list->push_back(element.get<Element>());
}

void ReadSampling(FieldReader& reader, SamplingOptions* sampling) {
  constexpr int64_t kMost = std::numeric_limits<int64_t>::max();
  // JudgeSampling knows the ranges.
  const auto any = [](double) { return true; };
  int64_t seed = 0;
  reader.Number("temperature", "", any, &sampling->temperature);
  reader.Integer("top_k", 0, kMost, &sampling->top_k);
  reader.Number("top_p", "", any, &sampling->top_p);
  reader.Number("min_p", "", any, &sampling->min_p);
  reader.Number("repetition_penalty", "", any, &sampling->repetition_penalty);
  reader.Integer("seed", 0, kMost, &seed);
  sampling->seed = static_cast<uint64_t>(seed);
}

absl::StatusOr<std::vector<int32_t>> PromptIn(const json& object, const Generation& generation) {
  if (const json* messages = FindField(object, "messages"))
    return generation.PromptOfMessages(messages->dump());
  if (const json* prompt = FindField(object, "prompt")) {
    if (!prompt->is_string()) return FieldError({{"prompt", "must be a text"}});
    return generation.PromptOf(prompt->get<std::string>());
  }
  std::vector<FieldViolation> violations;
  FieldReader reader(object, "", &violations);
  std::vector<int64_t> ids;
  ReadList(reader, "prompt_ids", "must be a list of token ids", &json::is_number_integer, &ids);
  if (!violations.empty()) return FieldError(violations);
  std::vector<int32_t> prompt;
  for (const int64_t id : ids) {
    const bool fits = id >= 0 && id <= std::numeric_limits<int32_t>::max();
    prompt.push_back(fits ? static_cast<int32_t>(id) : -1);  // which no vocabulary has
  }
  return prompt;
}

}  // namespace

absl::StatusOr<AnswerRequest> ParseAnswerRequest(std::string_view line,
                                                 const Generation& generation) {
  const auto object = ParseJsonObject(line);
  if (!object) return absl::InvalidArgumentError("the request is not a JSON object");
  if (const auto unknown = FindUnknownSetting(*object, kFields))
    return FieldError({{*unknown, "is not a field of a request"}});
  std::vector<FieldViolation> violations;
  FieldReader reader(*object, "", &violations);
  AnswerRequest request;
  ReadSampling(reader, &request.sampling);
  reader.Integer("max_new_tokens", 1, std::numeric_limits<int64_t>::max(), &request.max_new_tokens);
  ReadList(reader, "stop", "must be a list of texts", &json::is_string, &request.stops);
  if (reader.Has("ignore_eos")) {
    const json& ignore = reader.At("ignore_eos");
    if (!ignore.is_boolean()) reader.Violate("ignore_eos", "must be true or false");
    request.ignore_eos = ignore.is_boolean() && ignore.get<bool>();
  }
  const int sources = (reader.Has("prompt") ? 1 : 0) + (reader.Has("messages") ? 1 : 0) +
                      (reader.Has("prompt_ids") ? 1 : 0);
  if (sources != 1) violations.push_back({"prompt", "give prompt, messages or prompt_ids"});
  if (!violations.empty()) return FieldError(violations);
  FTD_ASSIGN_OR_RETURN(request.prompt, PromptIn(*object, generation));
  return request;
}

}  // namespace ftd

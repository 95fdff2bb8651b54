#include "worker/run/ollama.h"

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/strings/str_cat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/tokenizer/tokenizer.h"

namespace ftd {
namespace {

// The ids of "eos_token_id", one or several; none where the file does not say.
std::vector<int32_t> EndsIn(const std::filesystem::path& model_dir, const char* file) {
  const auto text = ReadContained(model_dir, file);
  const auto json = text.ok() ? ParseJsonObject(*text) : std::nullopt;
  const nlohmann::json* field = json.has_value() ? FindField(*json, "eos_token_id") : nullptr;
  std::vector<int32_t> ids;
  if (field == nullptr) return ids;
  for (const nlohmann::json& id : field->is_array() ? *field : nlohmann::json::array({*field})) {
    if (id.is_number_unsigned() && id.get<uint64_t>() <= INT32_MAX)
      ids.push_back(id.get<int32_t>());
  }
  return ids;
}

}  // namespace

absl::StatusOr<std::string> OllamaModelfile(const std::filesystem::path& model_dir,
                                            const std::filesystem::path& file,
                                            const std::vector<std::string>& notes) {
  std::vector<int32_t> ends = EndsIn(model_dir, "generation_config.json");
  if (ends.empty()) ends = EndsIn(model_dir, "config.json");
  FTD_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(model_dir));
  std::string text = absl::StrCat("FROM ./", file.string(), "\n");
  for (const std::string& note : notes) absl::StrAppend(&text, "# ", note, "\n");
  for (const int32_t id : ends) {
    const std::string end = tokenizer->Decode({id});
    // Quotes cannot be escaped within three of them.
    if (!end.empty() && end.find('"') == std::string::npos)
      absl::StrAppend(&text, "PARAMETER stop \"\"\"", end, "\"\"\"\n");
  }
  return text;
}

}  // namespace ftd

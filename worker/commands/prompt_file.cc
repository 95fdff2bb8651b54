#include "worker/commands/prompt_file.h"

#include <stdexcept>
#include <string>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using nlohmann::json;

absl::StatusOr<json> ReadJson(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadFile(path));
  json document = json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (document.is_discarded())
    return absl::InvalidArgumentError(absl::StrCat(path.string(), " is not JSON"));
  return document;
}

absl::StatusOr<TokenLists> ParseTokenLists(const std::filesystem::path& path, json document) {
  if (document.is_object() && document.contains("input_ids"))
    document = json(document["input_ids"]);
  TokenLists lists;
  try {
    if (!document.is_array() || document.empty()) throw std::invalid_argument("");
    lists.single = !document[0].is_array();
    if (lists.single) {
      lists.ids.push_back(document.get<std::vector<int32_t>>());
    } else {
      lists.ids = document.get<std::vector<std::vector<int32_t>>>();
    }
    for (const auto& ids : lists.ids)
      if (ids.empty()) throw std::invalid_argument("");
  } catch (const std::exception&) {
    return absl::InvalidArgumentError(absl::StrCat(
        path.string(),
        ": must be a JSON array of token ids, or an array of such arrays, none empty"));
  }
  return lists;
}

}  // namespace

absl::StatusOr<TokenLists> ReadTokenLists(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(json document, ReadJson(path));
  return ParseTokenLists(path, std::move(document));
}

absl::StatusOr<std::vector<std::vector<int32_t>>> ReadPrompts(const std::filesystem::path& path,
                                                              const Tokenizer& tokenizer) {
  FTD_ASSIGN_OR_RETURN(json document, ReadJson(path));
  const bool texts = document.is_array() && !document.empty() && document[0].is_string();
  if (!texts) {
    FTD_ASSIGN_OR_RETURN(TokenLists lists, ParseTokenLists(path, std::move(document)));
    return std::move(lists.ids);
  }
  std::vector<std::vector<int32_t>> prompts;
  for (const json& text : document) {
    if (!text.is_string()) {
      return absl::InvalidArgumentError(
          absl::StrCat(path.string(), ": where one prompt is a text, all must be"));
    }
    prompts.push_back(tokenizer.Encode(text.get<std::string>(), /*add_special_tokens=*/true));
  }
  return prompts;
}

}  // namespace ftd

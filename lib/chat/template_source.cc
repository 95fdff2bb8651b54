#include "lib/chat/template_source.h"

#include <algorithm>
#include <optional>
#include <system_error>

#include "lib/base/concat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "nlohmann/json.hpp"

namespace ftd::chat {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

constexpr const char* kDefault = "default";

absl::Status Corrupt(const fs::path& path, std::string_view problem) {
  return Error(Reason::kModelCorrupt, Concat(path.string(), ": ", problem));
}

// Returns nullopt when the file is not there.
absl::StatusOr<std::optional<std::string>> ReadIfThere(const fs::path& model_dir,
                                                       const char* file) {
  absl::StatusOr<std::string> text = ReadContained(model_dir, file);
  if (absl::IsNotFound(text.status())) return std::nullopt;
  FTD_RETURN_IF_ERROR(text.status());
  return *std::move(text);
}

absl::StatusOr<std::vector<NamedSource>> ReadJinjaFiles(const fs::path& model_dir) {
  std::vector<NamedSource> found;
  FTD_ASSIGN_OR_RETURN(std::optional<std::string> text,
                       ReadIfThere(model_dir, "chat_template.jinja"));
  if (text.has_value()) found.push_back({kDefault, *std::move(text)});
  std::error_code error;
  std::vector<fs::path> others;
  for (fs::directory_iterator entry(model_dir / "additional_chat_templates", error), end;
       !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() == ".jinja") others.push_back(entry->path());
  }
  std::sort(others.begin(), others.end());
  for (const fs::path& path : others) {
    FTD_ASSIGN_OR_RETURN(std::string other,
                         ReadContained(model_dir, path.lexically_relative(model_dir)));
    found.push_back({path.stem().string(), std::move(other)});
  }
  return found;
}

// The member "chat_template" of a JSON file: a text, or [{"name": …, "template": …}, …].
absl::StatusOr<std::vector<NamedSource>> ReadJsonFile(const fs::path& model_dir, const char* file) {
  const fs::path path = model_dir / file;
  FTD_ASSIGN_OR_RETURN(const std::optional<std::string> text, ReadIfThere(model_dir, file));
  if (!text.has_value()) return std::vector<NamedSource>();
  const std::optional<json> document = ParseJsonObject(*text);
  if (!document.has_value()) return Corrupt(path, "not a JSON object");
  const json* member = FindField(*document, "chat_template");
  std::vector<NamedSource> found;
  if (member == nullptr) return found;
  if (member->is_string()) {
    found.push_back({kDefault, member->get<std::string>()});
    return found;
  }
  const absl::Status malformed =
      Corrupt(path, R"("chat_template" must be a string, or a list of {"name", "template"})");
  if (!member->is_array()) return malformed;
  for (const json& entry : *member) {
    const json* name = FindField(entry, "name");
    const json* source = FindField(entry, "template");
    if (name == nullptr || !name->is_string() || source == nullptr || !source->is_string())
      return malformed;
    found.push_back({name->get<std::string>(), source->get<std::string>()});
  }
  return found;
}

}  // namespace

absl::StatusOr<std::vector<NamedSource>> ReadTemplates(const fs::path& model_dir) {
  FTD_ASSIGN_OR_RETURN(std::vector<NamedSource> found, ReadJinjaFiles(model_dir));
  for (const char* file : {"tokenizer_config.json", "chat_template.json"}) {
    if (!found.empty()) break;
    FTD_ASSIGN_OR_RETURN(found, ReadJsonFile(model_dir, file));
  }
  return found;
}

bool PrintsDate(std::string_view text) {
  return text.find("strftime_now") != std::string_view::npos;
}

}  // namespace ftd::chat

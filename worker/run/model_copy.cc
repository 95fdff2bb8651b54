#include "worker/run/model_copy.h"

#include <string>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/user.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr const char* kTokenizerFiles[] = {
    "tokenizer.json",  "tokenizer_config.json", "special_tokens_map.json",
    "tokenizer.model", "added_tokens.json",     "vocab.json",
    "merges.txt"};
constexpr const char* kMoreChatTemplates = "additional_chat_templates";

}  // namespace

absl::Status CopyModelFile(const std::filesystem::path& model_dir,
                           const std::filesystem::path& name, std::optional<uid_t> reader,
                           const std::filesystem::path& dir) {
  const auto opened = OpenContained(model_dir, name);
  if (absl::IsNotFound(opened.status())) return absl::OkStatus();
  FTD_RETURN_IF_ERROR(opened.status());
  if (reader.has_value()) FTD_RETURN_IF_ERROR(CheckReadable(*opened, FindUser(*reader)));
  FTD_ASSIGN_OR_RETURN(const std::string bytes, ReadFile(opened->fd, name));
  if (name.extension() == ".json" && !nlohmann::json::accept(bytes)) return absl::OkStatus();
  return WriteFileAtomically(dir / name, bytes);
}

absl::Status CopyTokenizer(const fs::path& model_dir, std::optional<uid_t> reader,
                           const fs::path& dir) {
  for (const char* name : kTokenizerFiles)
    FTD_RETURN_IF_ERROR(CopyModelFile(model_dir, name, reader, dir));
  return absl::OkStatus();
}

absl::Status CopyChatTemplates(const fs::path& model_dir, std::optional<uid_t> reader,
                               const fs::path& dir) {
  for (const char* name : {"chat_template.jinja", "chat_template.json"})
    FTD_RETURN_IF_ERROR(CopyModelFile(model_dir, name, reader, dir));
  std::error_code error;
  if (!fs::is_directory(model_dir / kMoreChatTemplates, error)) return absl::OkStatus();
  fs::create_directory(dir / kMoreChatTemplates, error);
  for (fs::directory_iterator entry(model_dir / kMoreChatTemplates, error), end;
       !error && entry != end; entry.increment(error)) {
    if (entry->path().extension() != ".jinja") continue;
    FTD_RETURN_IF_ERROR(CopyModelFile(
        model_dir, fs::path(kMoreChatTemplates) / entry->path().filename(), reader, dir));
  }
  if (error) return ErrnoError(error.value(), absl::StrCat("copy ", kMoreChatTemplates));
  return SyncPath(dir / kMoreChatTemplates);
}

hub::License ReadLicense(const fs::path& model_dir, std::optional<uid_t> reader) {
  const auto opened = OpenContained(model_dir, "README.md");
  if (!opened.ok()) return {};
  if (reader.has_value() && !CheckReadable(*opened, FindUser(*reader)).ok()) return {};
  const auto card = ReadFile(opened->fd, "README.md");
  return card.ok() ? hub::LicenseOfCard(*card) : hub::License();
}

}  // namespace ftd

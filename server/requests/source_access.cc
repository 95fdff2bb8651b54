#include "server/requests/source_access.h"

#include <unistd.h>

#include <algorithm>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/user.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// What ftd reads of a model or an adapter (lib/model, lib/tokenizer, lib/chat, lib/spec).
constexpr const char* kReadExtensions[] = {".json", ".jinja", ".safetensors", ".model", ".txt"};
constexpr char kMoreChatTemplates[] = "additional_chat_templates";

bool IsRead(const fs::path& path) {
  return std::find(std::begin(kReadExtensions), std::end(kReadExtensions), path.extension()) !=
         std::end(kReadExtensions);
}

// As the daemon itself, or as root: whatever it can read. The uids of others are judged.
bool NeedsNoCheck(uid_t uid) { return uid == 0 || uid == geteuid(); }

// Whether it is not there or not for this caller: nobody can feel about for directories.
absl::Status NoSuchDirectory(const fs::path& dir) {
  return Error(Reason::kModelNotFound,
               absl::StrCat(dir.string(), ": the server has no such directory that you may name"));
}

// Opens what would be read of a folder of the directory, as it would be read.
absl::Status CheckFilesOf(const fs::path& dir, const fs::path& folder, const Caller& caller) {
  std::error_code error;
  for (fs::directory_iterator entry(dir / folder, error), end; !error && entry != end;
       entry.increment(error)) {
    std::error_code unknown;
    if (!IsRead(entry->path()) || entry->is_directory(unknown)) continue;
    const auto opened = OpenContained(dir, folder / entry->path().filename());
    // A link to nothing, or what has just gone: whoever needs it says so.
    if (absl::IsNotFound(opened.status())) continue;
    FTD_RETURN_IF_ERROR(opened.status());
    FTD_RETURN_IF_ERROR(SourceAccess::CheckFile(*opened, caller));
  }
  return absl::OkStatus();  // a folder that is not there has no files
}

}  // namespace

// Results outlive their jobs; one without a job is seen by those who see all.
bool SourceAccess::IsResultFor(const fs::path& dir, const Caller& caller) const {
  const fs::path results = WithoutLinks(state_dir_.Results());
  if (!LiesUnder(dir, results) || dir == results) return false;
  if (!access_.OnlyOwner(caller).has_value()) return true;
  const std::string job = *dir.lexically_relative(results).begin();
  return access_.Check(caller, "DownloadResult", job).ok();
}

absl::Status SourceAccess::CheckModelDir(const fs::path& dir, const Caller& caller) const {
  const bool is_result = IsResultFor(dir, caller);
  const bool in_root = std::any_of(model_roots_.begin(), model_roots_.end(), [&](const auto& root) {
    return LiesUnder(dir, WithoutLinks(root));
  });
  if (!caller.uid.has_value() && !in_root && !is_result) return NoSuchDirectory(dir);
  const bool judged = caller.uid.has_value() && !NeedsNoCheck(*caller.uid) && !is_result;
  if (judged && !CheckReachable(dir, FindUser(*caller.uid)).ok()) return NoSuchDirectory(dir);
  for (const char* folder : {"", kMoreChatTemplates})
    FTD_RETURN_IF_ERROR(CheckFilesOf(dir, folder, judged ? caller : Caller{}));
  return absl::OkStatus();
}

absl::Status SourceAccess::CheckFile(const OpenedFile& file, const Caller& caller) {
  if (!caller.uid.has_value() || NeedsNoCheck(*caller.uid)) return absl::OkStatus();
  return Prefixed(CheckReadable(file, FindUser(*caller.uid)),
                  "ftd reads for you what you may read: ");
}

}  // namespace ftd

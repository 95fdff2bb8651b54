#include "lib/base/manifest.h"

#include <cstring>
#include <vector>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/json.h"
#include "lib/base/sha256.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

constexpr char kCheckpointPrefix[] = "checkpoint-";

absl::Status Corrupt(const fs::path& dir, const std::string& what) {
  return Error(Reason::kCheckpointCorrupt, absl::StrCat(dir.string(), ": ", what));
}

// Without a manifest the directory was never completed, which is as bad as a damaged one.
absl::StatusOr<Json> LoadManifest(const fs::path& dir) {
  auto text = ReadFile(dir / kManifestName);
  if (absl::IsNotFound(text.status()))
    return Corrupt(dir, "no MANIFEST.json; it was never completed");
  if (!text.ok()) return text.status();
  auto json = ParseJsonObject<Json>(*text);
  if (!json || !json->contains("files") || !(*json)["files"].is_object()) {
    return Corrupt(dir, "MANIFEST.json is damaged");
  }
  return *std::move(json);
}

// {"step", "spec_hash", "files": {"NAME": {"size_bytes", "sha256"}}}
absl::StatusOr<Manifest> FromJson(const fs::path& dir, const Json& json) {
  try {
    Manifest manifest;
    manifest.step = json.at("step").get<int64_t>();
    manifest.spec_hash = json.at("spec_hash").get<std::string>();
    for (const auto& [name, file] : json.at("files").items()) {
      manifest.total_bytes += file.at("size_bytes").get<int64_t>();
      if (!file.at("sha256").is_string()) return Corrupt(dir, absl::StrCat("no sha256 for ", name));
    }
    return manifest;
  } catch (const Json::exception& error) {
    return Corrupt(dir, absl::StrCat("MANIFEST.json is damaged (", error.what(), ")"));
  }
}

}  // namespace

// The order is what makes a directory trustworthy: contents on disk, then the manifest that
// describes them, then the directories, and the name last. A crash before the rename leaves a name
// that no reader trusts.
absl::Status SealDirectory(const fs::path& tmp_dir, const fs::path& final_dir,
                           const Manifest& manifest) {
  if (fs::exists(final_dir))
    return absl::AlreadyExistsError(absl::StrCat(final_dir.string(), " exists"));
  Json files = Json::object();
  std::vector<fs::path> directories = {tmp_dir};
  for (const auto& entry : fs::recursive_directory_iterator(tmp_dir)) {
    if (entry.is_directory()) directories.push_back(entry.path());
    if (!entry.is_regular_file()) continue;
    FTD_RETURN_IF_ERROR(SyncPath(entry.path()));
    FTD_ASSIGN_OR_RETURN(std::string sha256, Sha256File(entry.path()));
    files[fs::relative(entry.path(), tmp_dir).string()] = {{"size_bytes", entry.file_size()},
                                                           {"sha256", sha256}};
  }
  Json json = {{"step", manifest.step}, {"spec_hash", manifest.spec_hash}, {"files", files}};
  FTD_RETURN_IF_ERROR(WriteFileAtomically(tmp_dir / kManifestName, json.dump(2) + "\n"));
  for (const fs::path& directory : directories) FTD_RETURN_IF_ERROR(SyncPath(directory));
  return RenameDurably(tmp_dir, final_dir);
}

absl::StatusOr<Manifest> VerifyDirectory(const fs::path& dir,
                                         const std::function<void()>& progress) {
  FTD_ASSIGN_OR_RETURN(Json json, LoadManifest(dir));
  FTD_ASSIGN_OR_RETURN(Manifest manifest, FromJson(dir, json));
  // Files that the manifest does not name are ignored: they are not part of what was sealed.
  for (const auto& [name, expected] : json["files"].items()) {
    const fs::path path = dir / name;
    std::error_code error;
    // The size first: it finds a truncated file without reading it.
    const auto size = fs::file_size(path, error);
    if (error == std::errc::no_such_file_or_directory)
      return Corrupt(dir, absl::StrCat(name, " is missing"));
    if (error) return ErrnoError(error.value(), absl::StrCat("stat ", path.string()));
    if (static_cast<int64_t>(size) != expected.at("size_bytes").get<int64_t>()) {
      return Corrupt(
          dir, absl::StrCat(name, " has ", size, " bytes, not ", expected["size_bytes"].dump()));
    }
    FTD_ASSIGN_OR_RETURN(std::string sha256, Sha256File(path, progress));
    if (expected.value("sha256", "") != sha256)
      return Corrupt(dir, absl::StrCat(name, " has other bytes"));
  }
  return manifest;
}

absl::StatusOr<Manifest> ReadManifest(const fs::path& dir) {
  FTD_ASSIGN_OR_RETURN(Json json, LoadManifest(dir));
  return FromJson(dir, json);
}

absl::StatusOr<std::string> DigestInManifest(const fs::path& dir, const std::string& file) {
  FTD_ASSIGN_OR_RETURN(const Json json, LoadManifest(dir));
  const Json entry = json["files"].value(file, Json());
  if (!entry.is_object() || !entry.contains("sha256") || !entry["sha256"].is_string())
    return Corrupt(dir, absl::StrCat("MANIFEST.json has no sha256 of ", file));
  return entry["sha256"].get<std::string>();
}

std::string CheckpointName(int64_t step) { return absl::StrCat(kCheckpointPrefix, step); }

// -1 for any other name, ".tmp-checkpoint-N" included.
int64_t CheckpointStep(const fs::path& dir) {
  const std::string name = dir.filename().string();
  int64_t step = -1;
  if (name.rfind(kCheckpointPrefix, 0) != 0 ||
      !absl::SimpleAtoi(name.substr(std::strlen(kCheckpointPrefix)), &step))
    return -1;
  return step;
}

}  // namespace ftd

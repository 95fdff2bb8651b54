#include "lib/hub/dataset_finder.h"

#include <algorithm>
#include <filesystem>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "lib/data/rows/row.h"
#include "lib/data/splits.h"
#include "lib/hub/dataset_card.h"
#include "lib/hub/fetch.h"
#include "lib/hub/find_revision.h"
#include "lib/hub/transport/cache.h"
#include "lib/hub/transport/settings.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr size_t kSha256Digits = 64;
constexpr char kCard[] = "README.md";
constexpr int64_t kMaxCardBytes = 16 << 20;

// Returns the files of the wanted configuration and split: as the card says, else by their names.
absl::StatusOr<std::vector<LocalDatasetFile>> Choose(std::vector<LocalDatasetFile> files,
                                                     const std::vector<hub::CardConfig>& card,
                                                     const HubDataset& wanted,
                                                     const std::string& where) {
  if (!card.empty())
    return hub::FilesOfCard(card, std::move(files), wanted.config, wanted.split, where);
  FTD_ASSIGN_OR_RETURN(files, FilesOfConfig(std::move(files), wanted.config, where));
  FTD_ASSIGN_OR_RETURN(files, DataFilesOf(std::move(files), where));
  return FilesOfSplit(std::move(files), wanted.split, where);
}

// Returns all files of a snapshot, for when the hub cannot be asked.
std::vector<LocalDatasetFile> FilesIn(const fs::path& snapshot) {
  std::vector<LocalDatasetFile> files;
  std::error_code error;
  for (fs::recursive_directory_iterator it(snapshot, error), end; !error && it != end;
       it.increment(error)) {
    std::error_code ignored;
    if (it->is_regular_file(ignored))
      files.push_back({it->path().lexically_relative(snapshot).string(), it->path()});
  }
  return files;
}

// Returns the hub's files with the paths that they will have in the cache.
std::vector<LocalDatasetFile> FilesOf(const hub::RepoRevision& revision, const fs::path& snapshot) {
  std::vector<LocalDatasetFile> files;
  for (const hub::RepoFile& file : revision.files)
    files.push_back({file.path, snapshot / file.path});
  return files;
}

// Keeps only the chosen files in `revision`.
void Keep(const std::vector<LocalDatasetFile>& chosen, hub::RepoRevision& revision) {
  std::erase_if(revision.files, [&](const hub::RepoFile& file) {
    return std::none_of(chosen.begin(), chosen.end(),
                        [&](const LocalDatasetFile& c) { return c.name == file.path; });
  });
}

// Returns the configurations that the card declares. The card is fetched if the hub was asked.
absl::StatusOr<std::vector<hub::CardConfig>> ReadCard(const hub::Settings& settings,
                                                      const hub::Cache& cache,
                                                      hub::RepoRevision revision,
                                                      const fs::path& snapshot,
                                                      const std::string& where) {
  std::erase_if(revision.files, [](const auto& file) { return file.path != kCard; });
  if (!revision.files.empty()) {
    if (revision.files[0].size > kMaxCardBytes)
      return DatasetInvalid(absl::StrCat(where, ": its README.md is larger than 16 MiB"));
    FTD_RETURN_IF_ERROR(hub::FetchFiles(settings, hub::FindToken(settings), cache, revision,
                                        {.patience = hub::kSubmitPatience}));
  }
  const auto readme = ReadFile(snapshot / kCard);
  if (absl::IsNotFound(readme.status())) return std::vector<hub::CardConfig>();
  FTD_RETURN_IF_ERROR(readme.status());
  return hub::ConfigsOfCard(*readme, where);
}

// Fetches the files whose sha256 the hub does not give: those that are in git itself and not in LFS
// have a sha1 only. They are small, since large files are in LFS.
absl::Status FetchSmall(const hub::Settings& settings, const hub::Cache& cache,
                        hub::RepoRevision revision) {
  std::erase_if(revision.files,
                [](const hub::RepoFile& file) { return file.etag.size() == kSha256Digits; });
  return hub::FetchFiles(settings, hub::FindToken(settings), cache, revision,
                         {.patience = hub::kSubmitPatience});
}

// Takes the hash from the hub's answer where there is one, else from the file, which is here then.
absl::StatusOr<std::string> Sha256Of(const LocalDatasetFile& file,
                                     const hub::RepoRevision& revision) {
  for (const hub::RepoFile& known : revision.files) {
    if (known.path == file.name && known.etag.size() == kSha256Digits) return known.etag;
  }
  return Sha256File(file.path);
}

}  // namespace

// A job is bound to bytes: to a commit, and to the sha256 of each file. Large files get theirs from
// the hub's answer and are fetched by the worker.
absl::StatusOr<FoundDataset> FindHubDataset(DatasetSpec& dataset, const HubWarning& warn) {
  const hub::Settings settings = hub::SettingsFromEnvironment();
  const hub::Cache cache(settings.cache_dir);
  const hub::RepoId repo{hub::RepoType::kDataset, dataset.hub.name};
  FTD_ASSIGN_OR_RETURN(hub::RepoRevision revision,
                       FindRevision(settings, repo, dataset.hub.revision, warn));
  const fs::path snapshot = cache.Snapshot(repo, revision.commit);
  const bool online = !revision.files.empty();
  const std::string where = absl::StrCat("dataset ", dataset.hub.name);
  FTD_ASSIGN_OR_RETURN(const auto card, ReadCard(settings, cache, revision, snapshot, where));
  FTD_ASSIGN_OR_RETURN(
      const std::vector<LocalDatasetFile> chosen,
      Choose(online ? FilesOf(revision, snapshot) : FilesIn(snapshot), card, dataset.hub, where));
  // Offline, the snapshot has to have all files already; the sizes of the rest are not known.
  if (online) {
    Keep(chosen, revision);
    FTD_RETURN_IF_ERROR(hub::CheckDisk(cache, revision));
    FTD_RETURN_IF_ERROR(FetchSmall(settings, cache, revision));
  }
  dataset.files.clear();
  for (const LocalDatasetFile& file : chosen) {
    FTD_ASSIGN_OR_RETURN(std::string sha256, Sha256Of(file, revision));
    dataset.files.push_back({std::move(sha256), file.name, file.path});
  }
  // The commit replaces the branch's name, so a later attempt reads the same rows.
  dataset.hub.revision = revision.commit;
  if (dataset.file_name.empty()) dataset.file_name = dataset.hub.name;
  FoundDataset found;
  found.path = snapshot;
  found.source = std::move(revision);
  return found;
}

}  // namespace ftd

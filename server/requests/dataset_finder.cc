#include "server/requests/dataset_finder.h"

#include <algorithm>
#include <memory>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/sha256.h"
#include "lib/data/dataset_files.h"
#include "server/host/log.h"
#include "server/host/uploads.h"
#include "server/requests/source_access.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// Returns the path without its trailing slash, which would count as an empty last part.
fs::path Trimmed(const fs::path& path) { return path.has_filename() ? path : path.parent_path(); }

}  // namespace

// Returns whether a path without links is under one of dataset_roots.
bool DatasetFinder::IsUnderARoot(const fs::path& real) const {
  return std::any_of(roots_.begin(), roots_.end(),
                     [&](const std::string& root) { return LiesUnder(real, WithoutLinks(root)); });
}

absl::StatusOr<std::vector<DatasetFile>> DatasetFinder::FindServerFiles(
    const std::string& name, const Caller& caller) const {
  const auto refused = [&](const fs::path& path) {
    return FieldError({{"dataset.server_path",
                        absl::StrCat("\"", path.string(),
                                     "\" is not under a dataset root of the server; upload the "
                                     "file, or have its folder added to dataset_roots")}});
  };
  // The fixed part of a glob is checked first: folders outside the roots must not even be searched.
  fs::path searched(name);
  while (IsGlob(searched.string())) searched = searched.parent_path();
  if (!searched.is_absolute() || !IsUnderARoot(WithoutLinks(searched))) return refused(name);
  FTD_ASSIGN_OR_RETURN(const auto found, FindDatasetFiles(name));
  std::vector<DatasetFile> files;
  for (const LocalDatasetFile& file : found) {
    // Checked again, since a link within a root may lead out of it.
    if (!IsUnderARoot(WithoutLinks(file.path))) return refused(file.path);
    const auto opened = OpenRegularFile(file.path);
    if (!opened.ok()) {
      return Error(Reason::kDatasetNotFound,
                   absl::StrCat("dataset ", file.path.string(),
                                ": the server has no such file that it can read"));
    }
    // Hashed at submit: the worker compares before it reads, so a file that changes in the queue is
    // noticed.
    if (!IsUnderARoot(opened->path)) return refused(file.path);  // it was moved just now
    FTD_RETURN_IF_ERROR(SourceAccess::CheckFile(*opened, caller));
    FTD_ASSIGN_OR_RETURN(std::string sha256,
                         Sha256File(absl::StrCat("/proc/self/fd/", opened->fd.get())));
    files.push_back({std::move(sha256), file.name, opened->path});
  }
  return files;
}

// The client has uploaded the files before it submits; their names here are their hashes.
absl::StatusOr<FoundDataset> DatasetFinder::FindUploads(const DatasetSpec& dataset) const {
  FoundDataset found;
  for (const DatasetFile& file : FilesOf(dataset)) {
    if (!IsSha256(file.sha256)) {
      return FieldError({{"dataset.upload_sha256", "must be 64 digits of lower-case hex"}});
    }
    const fs::path path = state_dir_.Uploads() / file.sha256;
    std::error_code error;
    if (!fs::is_regular_file(path, error)) {
      return Error(Reason::kDatasetNotFound,
                   absl::StrCat("no file with sha256 ", file.sha256,
                                " was uploaded; send it by UploadFile first"));
    }
    if (found.path.empty()) found.path = path;
  }
  return found;
}

absl::StatusOr<FoundDataset> DatasetFinder::Find(DatasetSpec& dataset, const Caller& caller) const {
  FoundDataset found;
  if (!dataset.hub.name.empty()) {
    FTD_ASSIGN_OR_RETURN(found, FindHubDataset(dataset, LogHubTrouble));
  } else if (!dataset.server_path.empty()) {
    FTD_ASSIGN_OR_RETURN(dataset.files, FindServerFiles(dataset.server_path, caller));
    if (dataset.file_name.empty()) dataset.file_name = Trimmed(dataset.server_path).filename();
    found.path = dataset.server_path;
  } else {
    // A client must not say where an upload lies: that would lead past the roots.
    for (DatasetFile& file : dataset.files) file.server_path.clear();
    FTD_ASSIGN_OR_RETURN(found, FindUploads(dataset));
  }
  return found;
}

DatasetOptions DatasetFinder::OptionsOf(const DatasetSpec& dataset,
                                        const fs::path& model_dir) const {
  DatasetOptions options{
      .rules = dataset.rules, .limit = dataset.size, .skip_bad_rows = dataset.skip_bad_rows};
  options.chat = std::make_shared<ChatSource>(model_dir, dataset.rules.chat, nullptr);
  for (const DatasetFile& file : FilesOf(dataset)) {
    const fs::path path =
        file.server_path.empty() ? state_dir_.Uploads() / file.sha256 : fs::path(file.server_path);
    options.files.push_back({path, file.name, file.sha256});
  }
  return options;
}

}  // namespace ftd

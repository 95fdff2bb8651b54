#include "lib/hub/selection.h"

#include <algorithm>
#include <array>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd::hub {
namespace {

constexpr absl::string_view kIndex = "model.safetensors.index.json";

// The files beside the weights that a trained model's directory should have as well.
constexpr std::array<absl::string_view, 9> kSmallFiles = {
    "added_tokens.json",   "config.json",           "generation_config.json",
    "tokenizer.json",      "tokenizer_config.json", "special_tokens_map.json",
    "chat_template.jinja", "chat_template.json",    kIndex};
constexpr absl::string_view kMoreTemplates = "additional_chat_templates/";

bool Has(const RepoRevision& revision, absl::string_view path) {
  return std::any_of(revision.files.begin(), revision.files.end(),
                     [&](const RepoFile& file) { return file.path == path; });
}

// Returns whether a path is a shard of an index, such as "model-00001-of-00004.safetensors".
bool IsShard(absl::string_view path) {
  return absl::StartsWith(path, "model-") && absl::EndsWith(path, ".safetensors") &&
         !absl::StrContains(path, '/');
}

bool IsSmall(const RepoFile& file) {
  return std::find(kSmallFiles.begin(), kSmallFiles.end(), file.path) != kSmallFiles.end() ||
         (absl::StartsWith(file.path, kMoreTemplates) && absl::EndsWith(file.path, ".jinja"));
}

absl::Status Unsupported(const RepoId& repo, absl::string_view what) {
  return Error(Reason::kModelUnsupported, absl::StrCat(Described(repo), " has no ", what));
}

}  // namespace

// Only what training reads: repositories often have the same weights in other formats too.
absl::StatusOr<RepoRevision> ModelFiles(const RepoRevision& revision) {
  for (const char* needed : {"config.json", "tokenizer.json"}) {
    if (!Has(revision, needed))
      return Unsupported(revision.repo, absl::StrCat(needed, "; ftd trains models that have one"));
  }
  // A repository may have both. The single file comes first, as in transformers.
  const bool sharded = !Has(revision, "model.safetensors");
  RepoRevision wanted{revision.repo, revision.commit, {}};
  bool weights = false;
  for (const RepoFile& file : revision.files) {
    const bool weight = sharded ? IsShard(file.path) : file.path == "model.safetensors";
    weights |= weight;
    const bool stale = !sharded && file.path == kIndex;
    if (weight || (IsSmall(file) && !stale)) wanted.files.push_back(file);
  }
  if (!weights) {
    return Unsupported(revision.repo,
                       "weights in safetensors; convert it with transformers' save_pretrained, or "
                       "choose a repository that has them");
  }
  return wanted;
}

RepoRevision WithoutWeights(const RepoRevision& model_files) {
  RepoRevision small = model_files;
  std::erase_if(small.files, [](const RepoFile& file) { return !IsSmall(file); });
  return small;
}

}  // namespace ftd::hub

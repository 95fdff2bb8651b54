#include "server/requests/recent_judgements.h"

#include <filesystem>
#include <memory>
#include <system_error>
#include <utility>

#include "absl/strings/str_cat.h"
#include "server/requests/model_verdicts.h"

namespace ftd {
namespace {

// What no fingerprint shows, the rights to a folder above the model's for example, is looked at
// again after this.
constexpr absl::Duration kKept = absl::Seconds(1);
// A thousand clients that submit the same in a moment are one look at the files.
constexpr absl::Duration kShared = absl::Milliseconds(5);
constexpr size_t kMostSpecBytes = 64 << 10;

// What the judgement depends on beside files.
std::string KeyOf(const std::string& spec_json, const Caller& caller) {
  const std::string uid = caller.uid.has_value() ? absl::StrCat(*caller.uid) : "none";
  return absl::StrCat(static_cast<int>(caller.role), " ", uid, " ", caller.owner, "\n", spec_json);
}

}  // namespace

bool RecentJudgements::Holds(const Judgement& judgement) const {
  const Moment now = SteadyNow();
  if (now - judgement.time > kKept) return false;
  if (now - absl::Nanoseconds(judgement.looked_ns.load()) < kShared) return true;
  const auto found = models_.Find(judgement.model, "");
  if (!found.ok() || found->dir != judgement.job.model_dir) return false;
  if (FingerprintOf(found->dir) != judgement.model_files) return false;
  for (const std::string& upload : judgement.uploads) {
    std::error_code gone;
    if (!std::filesystem::is_regular_file(state_dir_.Uploads() / upload, gone)) return false;
  }
  judgement.looked_ns = absl::ToInt64Nanoseconds(now);
  return true;
}

std::optional<Job> RecentJudgements::Find(const std::string& spec_json, const Caller& caller) {
  const auto judgement = judgements_.Find(KeyOf(spec_json, caller));
  if (judgement == nullptr || !Holds(*judgement)) return std::nullopt;
  return judgement->job;
}

void RecentJudgements::Keep(const std::string& spec_json, const Caller& caller,
                            const TrainSpec& resolved, std::string model_files, const Job& judged) {
  if (model_files.empty() || !judged.sources_json.empty() || models_.IsOnHub(resolved.model) ||
      !resolved.lora.init_adapter.empty() || !resolved.dataset.server_path.empty() ||
      spec_json.size() + judged.spec_json.size() > kMostSpecBytes)
    return;
  auto judgement = std::make_shared<Judgement>();
  judgement->time = SteadyNow();
  judgement->model = resolved.model;
  judgement->model_files = std::move(model_files);
  judgement->job = judged;
  for (const DatasetFile& file : FilesOf(resolved.dataset))
    judgement->uploads.push_back(file.sha256);
  judgements_.Keep(KeyOf(spec_json, caller), std::move(judgement));
}

}  // namespace ftd

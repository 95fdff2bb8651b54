#include "server/requests/job_origin.h"

#include <algorithm>
#include <system_error>
#include <utility>

#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/json.h"
#include "lib/base/linked_copy.h"
#include "lib/base/manifest.h"
#include "lib/hub/sources.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/result_publisher.h"
#include "server/jobs/job_states.h"
#include "server/jobs/wire.h"
#include "server/requests/result_lookup.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using Json = nlohmann::ordered_json;

absl::Status BadOrigin(const std::string& why) { return FieldError({{"start_from", why}}); }

// The newest attempt's, if several have one of that step.
absl::StatusOr<fs::path> FindCheckpoint(const StateDir& state_dir, const Job& job, int64_t step) {
  FTD_ASSIGN_OR_RETURN(const auto checkpoints, ListCheckpointDirs(state_dir, job.id));
  fs::path found;
  for (const v1::Checkpoint& checkpoint : checkpoints)
    if (checkpoint.step() == step) found = checkpoint.path();
  if (!found.empty()) return found;
  return Error(Reason::kCheckpointNotFound,
               absl::StrCat("job ", job.DisplayName(), " has no checkpoint of step ", step,
                            "; `ftctl checkpoints ", job.DisplayName(), "` lists those it has"));
}

// A result that is there, or that may still come.
absl::Status CheckResult(JobStore& store, const Job& job) {
  if (!IsFinal(job.state)) return absl::OkStatus();
  if (job.state != JobState::kSucceeded) {
    return Error(Reason::kStateConflict,
                 absl::StrCat("job ", job.DisplayName(), " is ", JobStateName(job.state),
                              " and has no result to start from; ", job.DisplayName(),
                              "@STEP names one of its checkpoints"));
  }
  FTD_RETURN_IF_ERROR(CheckNotPruned(store, job));
  std::error_code error;
  if (fs::is_directory(job.result_dir, error)) return absl::OkStatus();
  return Error(Reason::kResultMissing, absl::StrCat("the result of job ", job.DisplayName(), ", ",
                                                    job.result_dir, ", is not there any more"));
}

// A job whose model is there, or as good as that: what makes it is up to nobody else.
absl::StatusOr<Job> RootOf(JobStore& store, Job job) {
  std::error_code error;
  while (!job.start_from.empty() && !fs::exists(job.model_dir, error)) {
    auto before = store.Get(job.OriginId());
    if (absl::IsNotFound(before.status())) break;
    FTD_ASSIGN_OR_RETURN(job, std::move(before));
  }
  return job;
}

// The settings that give an adapter its form.
constexpr const char* kFormOfAdapter[] = {"rank", "alpha", "use_rslora", "target_modules"};

Json FormOf(const Json& spec, const char* setting) {
  const Json lora = spec.value("lora", Json::object());
  Json value = lora.value(setting, Json());
  if (value.is_array()) std::sort(value.begin(), value.end());
  return value;
}

absl::StatusOr<Json> SpecJsonOf(const std::string& job, const std::string& spec_json) {
  auto spec = ParseJsonObject<Json>(spec_json);
  if (!spec) return absl::InternalError(absl::StrCat("the spec of job ", job, " is not JSON"));
  return *std::move(spec);
}

absl::Status CheckSameAdapter(const Origin& origin, const Json& spec) {
  const std::string& name = origin.job.DisplayName();
  FTD_ASSIGN_OR_RETURN(const Json theirs, SpecJsonOf(name, origin.job.spec_json));
  for (const char* setting : kFormOfAdapter) {
    const Json here = FormOf(spec, setting), there = FormOf(theirs, setting);
    if (here == there) continue;
    return Error(Reason::kAdapterMismatch,
                 absl::StrCat("start_from: the adapter of job ", name, " has lora.", setting, " ",
                              there.dump(), ", this job ", here.dump(), "; leave it out"));
  }
  return absl::OkStatus();
}

// Has the job train a model that other jobs make, so none has to be fetched.
absl::Status UseModel(const fs::path& dir, Job& job, Json& spec) {
  spec["model"] = job.model_dir = dir.string();
  spec.erase("revision");
  if (job.sources_json.empty()) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(hub::Sources sources, hub::SourcesFromJson(job.sources_json));
  std::erase_if(sources.repos, [](const hub::RepoRevision& revision) {
    return revision.repo.type == hub::RepoType::kModel;
  });
  job.sources_json = sources.repos.empty() ? "" : hub::SourcesToJson(sources);
  return absl::OkStatus();
}

}  // namespace

v1::JobSpec::Mode Origin::mode() const { return SpecOf(job)->mode(); }

std::string Origin::Name() const {
  return from_checkpoint() ? absl::StrCat(job.id, "@", step) : job.id;
}

absl::StatusOr<Origin> FindOrigin(JobStore& store, const StateDir& state_dir, const Access& access,
                                  const Caller& caller, const std::string& start_from) {
  const size_t at = start_from.find('@');
  Origin origin;
  if (at != std::string::npos &&
      (!absl::SimpleAtoi(start_from.substr(at + 1), &origin.step) || origin.step < 1))
    return BadOrigin("must be JOB or JOB@STEP, with the step as a number from 1");
  FTD_ASSIGN_OR_RETURN(const std::string id,
                       access.Check(caller, "DownloadResult", start_from.substr(0, at)));
  FTD_ASSIGN_OR_RETURN(origin.job, store.Get(id));
  FTD_ASSIGN_OR_RETURN(origin.root, RootOf(store, origin.job));
  if (at == std::string::npos) {
    FTD_RETURN_IF_ERROR(CheckResult(store, origin.job));
  } else {
    FTD_ASSIGN_OR_RETURN(origin.checkpoint, FindCheckpoint(state_dir, origin.job, origin.step));
  }
  return origin;
}

absl::StatusOr<std::vector<std::string>> FindAfter(const Access& access, const Caller& caller,
                                                   const std::vector<std::string>& names) {
  std::vector<std::string> ids;
  for (const std::string& name : names) {
    FTD_ASSIGN_OR_RETURN(std::string id, access.Check(caller, "GetJob", name));
    if (std::find(ids.begin(), ids.end(), id) == ids.end()) ids.push_back(std::move(id));
  }
  return ids;
}

absl::StatusOr<std::string> WithDefaultsOf(const Origin& origin, const std::string& spec_json) {
  const std::string& name = origin.job.DisplayName();
  FTD_ASSIGN_OR_RETURN(Json spec, SpecJsonOf("this request", spec_json));
  FTD_ASSIGN_OR_RETURN(const Json theirs, SpecJsonOf(name, origin.job.spec_json));
  if (!spec.contains("mode")) spec["mode"] = theirs.value("mode", "");
  const bool full = spec["mode"] == "FULL";
  if (!origin.is_model() && full)
    return BadOrigin(absl::StrCat("job ", name,
                                  " trains an adapter, which mode full cannot begin with; choose "
                                  "lora or qlora"));
  if (origin.is_model() && origin.from_checkpoint() && !full)
    return BadOrigin(absl::StrCat("a checkpoint of job ", name,
                                  ", which is of mode full, is for mode full alone: an adapter "
                                  "needs a model that others can load; start from its result"));
  if (!spec.contains("model")) {
    FTD_ASSIGN_OR_RETURN(const Json root, SpecJsonOf(name, origin.root.spec_json));
    for (const char* field : {"model", "revision"})
      if (root.contains(field)) spec[field] = root[field];
  }
  if (origin.is_model()) return spec.dump();
  if (!spec.value("lora", Json::object()).value("init_adapter", "").empty())
    return BadOrigin("stands for the adapter to begin with; leave lora.init_adapter out");
  const Json lora = theirs.value("lora", Json::object());
  for (const char* setting : kFormOfAdapter)
    if (lora.contains(setting) && !spec["lora"].contains(setting))
      spec["lora"][setting] = lora[setting];
  return spec.dump();
}

absl::Status BindTo(const Origin& origin, const StateDir& state_dir, Job& job) {
  FTD_ASSIGN_OR_RETURN(Json spec, SpecJsonOf("this request", job.spec_json));
  const fs::path result = PublishedResult(state_dir, origin.job);
  if (job.model_dir != origin.root.model_dir)
    return Error(Reason::kAdapterMismatch,
                 absl::StrCat("start_from: job ", origin.job.DisplayName(), " trained ",
                              SpecOf(origin.root)->model(),
                              ", not this model; leave model and revision out"));
  if (!origin.is_model()) FTD_RETURN_IF_ERROR(CheckSameAdapter(origin, spec));
  if (origin.is_model() && !origin.from_checkpoint()) {
    FTD_RETURN_IF_ERROR(UseModel(result, job, spec));
  } else if (origin.root.id != origin.job.id) {
    FTD_RETURN_IF_ERROR(UseModel(origin.job.model_dir, job, spec));
  }
  if (!origin.is_model() && !origin.from_checkpoint())
    spec["lora"]["init_adapter"] = result.string();
  job.spec_json = spec.dump();
  job.start_from = origin.Name();
  const auto known = std::find(job.after.begin(), job.after.end(), origin.job.id);
  if (!origin.from_checkpoint() && known == job.after.end()) job.after.push_back(origin.job.id);
  return absl::OkStatus();
}

absl::Status KeepStartWeights(const StateDir& state_dir, const fs::path& checkpoint,
                              const std::string& job_id) {
  const fs::path start = state_dir.StartWeights(job_id);
  std::error_code error;
  fs::create_directories(start.parent_path(), error);
  if (error)
    return ErrnoError(error.value(), absl::StrCat("create ", start.parent_path().string()));
  FTD_RETURN_IF_ERROR(SyncPath(start.parent_path().parent_path()));
  FTD_ASSIGN_OR_RETURN(const ScratchDir scratch, ScratchDir::Create(start.string() + ".tmp"));
  for (const char* file : {kManifestName, "model.safetensors", "adapter_model.safetensors"}) {
    if (!fs::exists(checkpoint / file, error)) continue;
    FTD_RETURN_IF_ERROR(LinkOrCopy(checkpoint / file, scratch.path() / file));
  }
  FTD_RETURN_IF_ERROR(SyncPath(scratch.path()));
  return RenameDurably(scratch.path(), start);
}

void DropStartWeights(const StateDir& state_dir, const std::string& job_id) {
  std::error_code ignored;  // nobody misses what is left
  fs::remove_all(state_dir.StartWeights(job_id).parent_path(), ignored);
}

}  // namespace ftd

#include "server/requests/submission.h"

#include <algorithm>
#include <chrono>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/time/time.h"
#include "lib/base/error.h"
#include "lib/data/first_rows.h"
#include "lib/hub/plan.h"
#include "lib/hub/sources.h"
#include "server/attempts/disk_room.h"
#include "server/attempts/result_publisher.h"
#include "server/host/uploads.h"
#include "server/jobs/id.h"
#include "server/jobs/job_states.h"
#include "server/requests/job_metadata.h"
#include "server/requests/owner_quotas.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// The rows that are read before a submit is answered. All of them are while the job is queued.
constexpr int64_t kFirstRows = 1000;
constexpr absl::Duration kFirstRowsTime = absl::Milliseconds(200);
// No row is tokenised before a submit is answered, so the longest may be as short as this.
constexpr int32_t kShortRow = 64;
constexpr auto kValidateTime = std::chrono::seconds(20);

// The form alone: any version and variant will do as a key.
bool IsUuid(const std::string& text) {
  if (text.size() != 36) return false;
  for (size_t i = 0; i < text.size(); ++i) {
    const bool dash = i == 8 || i == 13 || i == 18 || i == 23;
    if (dash ? text[i] != '-' : !isxdigit(static_cast<unsigned char>(text[i]))) return false;
  }
  return true;
}

void CheckRequestId(const std::optional<RequestKey>& request, std::vector<FieldViolation>& bad) {
  if (request.has_value() && !IsUuid(request->request_id)) {
    bad.push_back({"request_id", "must be a UUID"});
  }
}

// The part of what a job has to fetch that its rows are in.
absl::StatusOr<hub::Sources> DataSources(const Job& job) {
  hub::Sources sources;
  if (job.sources_json.empty()) return sources;
  FTD_ASSIGN_OR_RETURN(sources, hub::SourcesFromJson(job.sources_json));
  std::erase_if(sources.repos, [](const hub::RepoRevision& revision) {
    return revision.repo.type != hub::RepoType::kDataset;
  });
  return sources;
}

// The job that a request made before, unless somebody else made that request.
absl::StatusOr<Job> OwnOf(const Caller& caller, Job known) {
  if (known.owner == caller.owner) return known;
  return Error(Reason::kRequestIdReused,
               "another caller has used this request_id; send a fresh one");
}

// Collects all violations: the client shows them together.
absl::Status CheckFields(const Submission& submission) {
  std::vector<FieldViolation> bad;
  CheckName(submission.name, bad);
  CheckPriority(submission.priority, bad);
  CheckRequestId(submission.request, bad);
  CheckLabels(submission.labels, bad);
  CheckAfter(submission.after, bad);
  CheckTimeLimit(submission.time_limit_seconds, bad);
  return bad.empty() ? absl::OkStatus() : FieldError(bad);
}

}  // namespace

// The cheap checks first: fields, then files of the model and dataset, which may need the hub, then
// the first rows.
absl::StatusOr<Job> Submitter::JudgeSpec(const std::string& spec_json, const Caller& caller) const {
  if (auto judged = recent_.Find(spec_json, caller)) return *std::move(judged);
  FTD_ASSIGN_OR_RETURN(TrainSpec spec, ResolveTrainSpec(spec_json, rules_.default_dtype));
  // A relative path would mean something else in the daemon's directory than in the client's.
  if (!spec.lora.init_adapter.empty() && !fs::path(spec.lora.init_adapter).is_absolute())
    return FieldError({{"lora.init_adapter", "must be an absolute path on the server"}});
  std::string model_files;
  const PlanMeans means{
      .models = finder_,
      .judge_model =
          [&](const fs::path& dir) {
            model_files = FingerprintOf(dir);
            return verdicts_.Judge(dir, model_files);
          },
      .find_dataset = [&](DatasetSpec& dataset) { return datasets_.Find(dataset, caller); },
      .check_dir = [&](const fs::path& dir) { return source_access_.CheckModelDir(dir, caller); }};
  FTD_ASSIGN_OR_RETURN(const Plan plan, MakePlan(std::move(spec), means));
  FTD_RETURN_IF_ERROR(
      CheckFits(plan.model, plan.spec, rules_.room(), std::min(kShortRow, plan.spec.seq_length)));
  FTD_RETURN_IF_ERROR(JudgeFirstRows(datasets_.OptionsOf(plan.spec.dataset, plan.model_dir),
                                     kFirstRows, kFirstRowsTime));
  Job job;
  job.model_dir = plan.model_dir;
  job.dataset_path = plan.dataset_path;
  job.sources_json = plan.sources_json;
  job.spec_json = TrainSpecToJson(plan.spec);
  // Only the files that a path or a repository stands for can make it so large.
  if (job.spec_json.size() > kMaxSpecBytes) {
    return FieldError({{"dataset.files", absl::StrCat("make a spec of ", job.spec_json.size(),
                                                      " bytes; it may have ", kMaxSpecBytes,
                                                      ": use fewer, larger files")}});
  }
  FTD_RETURN_IF_ERROR(CheckCanFit(state_dir_, job));
  FTD_RETURN_IF_ERROR(state_dir_.ProbeResults());
  recent_.Keep(spec_json, caller, plan.spec, std::move(model_files), job);
  return job;
}

absl::StatusOr<fs::path> Submitter::FindModel(const std::string& model,
                                              const Caller& caller) const {
  FTD_ASSIGN_OR_RETURN(const FoundModel found,
                       FindAllowedModel(finder_, model, /*revision=*/"", [&](const fs::path& dir) {
                         return source_access_.CheckModelDir(dir, caller);
                       }));
  if (found.is_complete) return found.dir;
  return Error(
      Reason::kModelNotFound,
      absl::StrCat(model, " is not in the cache; fetch it first: `ftctl models pull ", model, "`"));
}

absl::StatusOr<std::optional<Origin>> Submitter::OriginOf(const Submission& submission) const {
  if (submission.start_from.empty()) return std::nullopt;
  return FindOrigin(store_, state_dir_, access_, submission.caller, submission.start_from);
}

absl::StatusOr<Job> Submitter::Judge(const Submission& submission) const {
  FTD_ASSIGN_OR_RETURN(const auto origin, OriginOf(submission));
  return Judge(submission, origin);
}

absl::StatusOr<Job> Submitter::Judge(const Submission& submission,
                                     const std::optional<Origin>& origin) const {
  FTD_RETURN_IF_ERROR(CheckFields(submission));
  std::string spec_json = submission.spec_json;
  if (origin.has_value()) {
    FTD_ASSIGN_OR_RETURN(spec_json, WithDefaultsOf(*origin, spec_json));
  }
  FTD_ASSIGN_OR_RETURN(Job job, JudgeSpec(spec_json, submission.caller));
  FTD_ASSIGN_OR_RETURN(job.after, FindAfter(access_, submission.caller, submission.after));
  if (origin.has_value()) FTD_RETURN_IF_ERROR(BindTo(*origin, state_dir_, job));
  FTD_RETURN_IF_ERROR(state_dir_.CheckResultsWritable());
  job.time_limit_seconds = submission.time_limit_seconds;
  job.name = submission.name;
  job.labels = submission.labels;
  job.priority = submission.priority;
  job.owner = submission.caller.owner;
  std::error_code error;
  // Names are unique among jobs in the store; results outlive their job's row.
  if (!job.name.empty() && fs::exists(PublishedResult(state_dir_, job), error)) {
    return Error(Reason::kNameInUse, absl::StrCat("results of a job named \"", job.name,
                                                  "\" exist already; choose another name"));
  }
  return job;
}

absl::StatusOr<Submitter::Checked> Submitter::Validate(const Submission& submission,
                                                       const std::function<bool()>& go_on) const {
  FTD_ASSIGN_OR_RETURN(Job job, Judge(submission));
  FTD_ASSIGN_OR_RETURN(const hub::Sources data, DataSources(job));
  if (!hub::HasSources(data)) return Checked{.job = std::move(job)};
  const auto until = std::chrono::steady_clock::now() + kValidateTime;
  const auto check =
      ReadRows(job, {.go_on = [&] { return go_on() && std::chrono::steady_clock::now() < until; },
                     .progress = {}});
  // So far the rows were good.
  if (absl::IsCancelled(check.status())) return Checked{.job = std::move(job)};
  FTD_RETURN_IF_ERROR(check.status());
  if (const std::string& why = check->report->plan().does_not_fit(); !why.empty())
    return Error(Reason::kDoesNotFit, why);
  return Checked{.job = std::move(job), .report = check->report};
}

absl::StatusOr<Submitter::Checked> Submitter::CheckData(const Submission& submission,
                                                        const ClientTaskControls& controls) const {
  FTD_ASSIGN_OR_RETURN(Job job, Judge(submission));
  FTD_ASSIGN_OR_RETURN(const hub::Sources data, DataSources(job));
  FTD_RETURN_IF_ERROR(
      hub::FetchSources(data, hub::FindToken(hub::SettingsFromEnvironment()),
                        {.progress = controls.progress, .cancelled = controls.cancelled}));
  FTD_ASSIGN_OR_RETURN(
      SideWork check,
      ReadRows(job, {.go_on = [&] { return !controls.cancelled(); },
                     .progress =
                         [&](const v1::Progress& progress) {
                           if (progress.phase() == v1::Progress::TOKENIZE)
                             controls.progress({progress.done(), progress.total(), 0});
                         }}));
  return Checked{.job = std::move(job),
                 .report = std::move(check.report),
                 .warnings = std::move(check.warnings)};
}

// In a directory of its own, since there is no job. A worker that ends well has reported the rows,
// and so has one that finds that the job does not fit.
absl::StatusOr<SideWork> Submitter::ReadRows(const Job& judged,
                                             const SideWorkObserver& observer) const {
  FTD_ASSIGN_OR_RETURN(SideWork check,
                       CheckRows(rules_.worker, state_dir_, state_dir_.RowChecks() / NewJobId(),
                                 judged, rules_.room(), observer));
  const bool read = check.end.outcome() == v1::WorkerEvent::End::SUCCEEDED ||
                    check.end.failure_reason() == v1::DOES_NOT_FIT;
  if (read && check.report.has_value()) return check;
  const Reason reason = ReasonNamed(v1::FailureReason_Name(check.end.failure_reason()));
  return Error(reason == Reason::kNone ? Reason::kInternal : reason, check.end.message());
}

// Admins are bound by the queue's length alone.
int64_t Submitter::MostOf(const Caller& caller) const {
  return caller.role == Role::kAdmin ? std::numeric_limits<int64_t>::max()
                                     : rules_.max_queued_per_owner;
}

void Submitter::Submit(const Submission& submission, JobStore::Done done) {
  // Before judging, which may take seconds. Insert asks again within its transaction, for two calls
  // at once.
  const Caller& caller = submission.caller;
  if (submission.request.has_value()) {
    auto known = store_.FindRequest(*submission.request);
    if (!known.ok()) return done(known.status());
    if (known->has_value()) return done(OwnOf(caller, **std::move(known)));
  }
  const auto origin = OriginOf(submission);
  if (!origin.ok()) return done(origin.status());
  auto job = Judge(submission, *origin);
  if (!job.ok()) return done(job.status());
  job->id = NewJobId();
  if (origin->has_value() && (*origin)->from_checkpoint()) {
    const absl::Status kept = KeepStartWeights(state_dir_, (*origin)->checkpoint, job->id);
    if (!kept.ok()) return done(kept);
  }
  std::string request_id = submission.request.value_or(RequestKey()).request_id;
  std::string id = job->id;  // not const, so that the closure can be moved
  store_.Insert(
      *std::move(job), submission.request, rules_.max_queued, MostOf(caller),
      [this, caller = caller, request_id, id, done = std::move(done)](absl::StatusOr<Job> queued) {
        // The request may have made another job before.
        if (!queued.ok() || queued->id != id) DropStartWeights(state_dir_, id);
        if (!queued.ok()) return done(std::move(queued));
        LogInfo(About{.job = queued->id, .request_id = request_id}, "queued",
                queued->owner.empty() ? "" : ", for ", queued->owner);
        done(OwnOf(caller, *std::move(queued)));
      });
}

absl::Status Submitter::RepeatLinks(const Job& ended, const Caller& caller, Job& job) {
  job.start_from = ended.start_from;
  // Those that are gone had succeeded, or the job would have failed before they went.
  for (const std::string& id : ended.after)
    if (!absl::IsNotFound(store_.Get(id).status())) job.after.push_back(id);
  if (job.start_from.empty()) return absl::OkStatus();
  fs::path start = state_dir_.StartWeights(ended.id);
  std::error_code error;
  if (!fs::exists(start, error)) {
    const auto origin = FindOrigin(store_, state_dir_, access_, caller, job.start_from);
    // Its result outlives a job that was removed.
    if (absl::IsNotFound(origin.status()) && !job.StartsFromCheckpoint())
      return ReasonOf(origin.status()) == Reason::kJobNotFound ? absl::OkStatus() : origin.status();
    FTD_RETURN_IF_ERROR(origin.status());
    start = origin->checkpoint;
  }
  return start.empty() ? absl::OkStatus() : KeepStartWeights(state_dir_, start, job.id);
}

absl::StatusOr<Job> Submitter::Retry(const std::string& name, const Caller& caller,
                                     const std::optional<RequestKey>& request) {
  std::vector<FieldViolation> bad;
  CheckRequestId(request, bad);
  if (!bad.empty()) return FieldError(bad);
  if (request.has_value()) {
    FTD_ASSIGN_OR_RETURN(auto known, store_.FindRequest(*request));
    if (known.has_value()) return OwnOf(caller, *std::move(known));
  }
  FTD_ASSIGN_OR_RETURN(const Job ended, store_.Get(name));
  if (!IsFinal(ended.state)) {
    return Error(Reason::kStateConflict,
                 absl::StrCat("job ", ended.DisplayName(), " is ", JobStateName(ended.state),
                              ": only a job that has ended can be retried"));
  }
  FTD_RETURN_IF_ERROR(state_dir_.ProbeResults());
  for (const std::string& upload : UploadsOf(ended)) {
    // Before the look at it: what was sent just now stays.
    Touch(state_dir_.Uploads() / upload);
    std::error_code error;
    if (std::filesystem::exists(state_dir_.Uploads() / upload, error) || error) continue;
    return Error(Reason::kDatasetNotFound,
                 absl::StrCat("the data of job ", ended.DisplayName(), ", upload ", upload,
                              ", are no longer on the server; submit them again"));
  }
  // Bound to the same bytes: commits and hashes are in the spec and the sources. The name stays
  // with the first job.
  Job job;
  job.id = NewJobId();
  job.spec_json = ended.spec_json;
  job.model_dir = ended.model_dir;
  job.dataset_path = ended.dataset_path;
  job.sources_json = ended.sources_json;
  job.labels = ended.labels;
  job.priority = ended.priority;
  job.owner = caller.owner;
  job.retry_of = ended.id;
  job.time_limit_seconds = ended.time_limit_seconds;
  FTD_RETURN_IF_ERROR(RepeatLinks(ended, caller, job));
  auto queued = store_.Insert(job, request, rules_.max_queued, MostOf(caller));
  if (!queued.ok() || queued->id != job.id) DropStartWeights(state_dir_, job.id);
  FTD_RETURN_IF_ERROR(queued.status());
  return OwnOf(caller, *std::move(queued));
}

}  // namespace ftd

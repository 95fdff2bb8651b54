// The calls about jobs, and about the daemon that runs them.
#include <utility>

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/sha256.h"
#include "lib/base/utf8.h"
#include "lib/runlog/message_json.h"
#include "server/api/fine_tuning_service.h"
#include "server/host/small_cache.h"
#include "server/jobs/wire.h"
#include "server/requests/job_control.h"
#include "server/requests/job_view.h"
#include "server/requests/spec_limits.h"
#include "server/streams/grpc_status.h"
#include "server/streams/stream_reactor.h"

namespace ftd {
namespace {

constexpr size_t kMaxReason = 4096;

// Returns the same bytes for equal messages: a map's order on the wire is free.
std::string DeterministicBytes(const google::protobuf::Message& message) {
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream sink(&bytes);
    google::protobuf::io::CodedOutputStream coded(&sink);
    coded.SetSerializationDeterministic(true);
    message.SerializeToCodedStream(&coded);
  }
  return bytes;
}

// Returns the hash by which a request_id that comes again is told from one that is used for another
// request.
template <typename Request>
std::string BodyHash(Request request) {
  request.clear_request_id();
  return Sha256Hex(DeterministicBytes(request));
}

// Refuses what does not belong into a stored spec, whatever it means: texts without end, and the
// numbers that an open enum lets through but that no value has. JSON would print those as numbers,
// and the spec's reader expects names.
absl::Status CheckSpec(const v1::JobSpec& spec) {
  std::vector<FieldViolation> bad;
  CheckSpecSizes(spec, bad);
  if (!v1::JobSpec::Mode_IsValid(spec.mode())) {
    bad.push_back({"mode", "is none that this server knows"});
  }
  if (!v1::JobSpec::Dtype_IsValid(spec.dtype())) {
    bad.push_back({"dtype", "is none that this server knows"});
  }
  return bad.empty() ? absl::OkStatus() : FieldError(bad);
}

// Names fields of the spec by their path in the request: "spec.lora.rank". The message, which
// people read, names them as their flags and the job file do.
absl::Status ByRequestPath(const absl::Status& status) {
  std::vector<FieldViolation> violations = ViolationsOf(status);
  if (violations.empty()) return status;
  for (FieldViolation& violation : violations) {
    const std::string head = violation.field.substr(0, violation.field.find('.'));
    if (v1::JobSpec::descriptor()->FindFieldByName(head) != nullptr)
      violation.field.insert(0, "spec.");
  }
  return WithViolations(status, violations);
}

// Returns the pool for a submit, by what it may wait for. Without a dataset, rows of the hub are
// meant.
TaskPool& LaneOf(const v1::SubmitJobRequest& request, const ModelFinder& models, Lanes& lanes) {
  const v1::Dataset& dataset = request.spec().dataset();
  const bool on_server = dataset.has_server_path();
  const bool uploaded =
      dataset.has_upload_sha256() ||
      (dataset.source_case() == v1::Dataset::SOURCE_NOT_SET && dataset.files_size() > 0);
  const bool on_hub = models.IsOnHub(request.spec().model()) || (!on_server && !uploaded);
  if (on_hub || request.validate_only()) return lanes.waiting;
  return on_server ? lanes.hashing : lanes.submits;
}

// Checks the spec and returns it as JSON with the proto's own field names, as it is stored with the
// job.
absl::StatusOr<std::shared_ptr<const std::string>> SpecToJson(const v1::JobSpec& spec) {
  // Never destroyed: threads may outlive main.
  static auto& cache = *new SmallCache<std::string>(512, 16 << 10);
  const std::string bytes = DeterministicBytes(spec);
  if (auto known = cache.Find(bytes)) return known;
  FTD_RETURN_IF_ERROR(CheckSpec(spec));
  auto json = MessageToJson(spec);
  if (!json.ok()) return FieldError({{"spec", "has a value that JSON cannot hold"}});
  auto kept = std::make_shared<const std::string>(*std::move(json));
  cache.Keep(bytes, kept);
  return kept;
}

// Returns the request in the form that the parts below the API know.
absl::StatusOr<Submission> ToSubmission(const v1::SubmitJobRequest& request, Caller caller) {
  FTD_ASSIGN_OR_RETURN(const auto spec_json, SpecToJson(request.spec()));
  Submission submission{.spec_json = *spec_json,
                        .name = request.name(),
                        .labels = {request.labels().begin(), request.labels().end()},
                        .priority = request.priority(),
                        .after = {request.after().begin(), request.after().end()},
                        .start_from = request.start_from(),
                        .time_limit_seconds = request.time_limit_seconds(),
                        .caller = std::move(caller)};
  if (!request.request_id().empty()) submission.request = {request.request_id(), BodyHash(request)};
  return submission;
}

}  // namespace

// gRPC's own threads must not wait for the database or the disk, so each call does its work on the
// pool. The reactor lives until Finish; `request` and `response` live as long.
FineTuningService::Unary* FineTuningService::StartOnPool(TaskPool& pool, Context* context,
                                                         Asked asked, Start start) {
  Unary* reactor = context->DefaultReactor();
  pool.Post([=, this, asked = std::move(asked), start = std::move(start)] {
    const Caller caller = parts_.caller_of(*context);
    const auto job = parts_.access.Check(caller, asked.method, asked.job);
    const auto finish = [=](const absl::Status& status) { reactor->Finish(ToGrpc(status)); };
    if (!job.ok()) return finish(job.status());
    start(caller, *job, finish);
  });
  return reactor;
}

// Answers with the job as it is now, or with the error that kept it from changing.
absl::Status FineTuningService::View(const absl::StatusOr<Job>& job, v1::Job* response) {
  FTD_RETURN_IF_ERROR(job.status());
  FTD_ASSIGN_OR_RETURN(*response, ViewJob(parts_.store, parts_.state_dir, *job));
  parts_.forecast.AddTo(*job, response);
  return absl::OkStatus();
}

absl::Status FineTuningService::CheckServing() const {
  if (!parts_.stopping()) return absl::OkStatus();
  return Error(Reason::kStopping, "ftd is stopping; nothing was queued, try again");
}

absl::Status FineTuningService::Validate(const Context& context, const Submission& submission,
                                         v1::Job* response) {
  const auto go_on = [&] { return !parts_.stopping() && !context.IsCancelled(); };
  FTD_ASSIGN_OR_RETURN(auto validated, parts_.submitter.Validate(submission, go_on));
  *response = ToWire(validated.job);
  if (validated.report.has_value()) *response->mutable_data_report() = *std::move(validated.report);
  if (response->data_report().has_plan())
    parts_.forecast.Complete(validated.job, response->mutable_data_report()->mutable_plan());
  return absl::OkStatus();
}

void FineTuningService::Submit(const Context& context, const Caller& caller,
                               const v1::SubmitJobRequest& request, v1::Job* response,
                               const Finish& finish) {
  // A job that was stored while the daemon stops would be safe, but its client would not be told
  // so.
  if (const absl::Status serving = CheckServing(); !serving.ok()) return finish(serving);
  const auto submission = ToSubmission(request, caller);
  if (!submission.ok()) return finish(ByRequestPath(submission.status()));
  const absl::Status stored = parts_.quotas.CheckStored(caller);
  if (!stored.ok()) return finish(stored);
  if (request.validate_only())
    return finish(ByRequestPath(Validate(context, *submission, response)));
  // The thread is free while the job waits for its flush, so that many wait for one.
  parts_.submitter.Submit(*submission, [=, this](const absl::StatusOr<Job>& job) {
    if (!job.ok()) return finish(ByRequestPath(job.status()));
    // A repeated request's job may have begun: then files say what it does, and the store's thread
    // reads none. Nothing but its row says anything of a job that has just been queued.
    if (job->state != JobState::kQueued || job->start_time.has_value()) {
      return parts_.lanes.reads.Post([=, this] { finish(ByRequestPath(View(job, response))); });
    }
    *response = ViewQueuedJob(*job, parts_.store.Position(*job), parts_.store.AnyActive(),
                              parts_.store.drained());
    finish(absl::OkStatus());
  });
}

// Reads all rows, which takes minutes for a large file, so it is a task with a thread of its own.
template <typename Message>
grpc::ServerWriteReactor<Message>* FineTuningService::CheckSpec(
    Context* context, const char* method, const v1::JobSpec& spec,
    std::function<void(Submitter::Checked, Message&)> answer) {
  v1::SubmitJobRequest asked;
  *asked.mutable_spec() = spec;
  return Task<Message>(
      context, {method, ""}, [this, asked, answer](const Caller& caller, const auto&) {
        return [this, asked, answer, caller](const auto& controls) -> absl::StatusOr<Message> {
          const auto submission = ToSubmission(asked, caller);
          if (!submission.ok()) return ByRequestPath(submission.status());
          auto checked = parts_.submitter.CheckData(*submission, controls);
          if (!checked.ok()) return ByRequestPath(checked.status());
          parts_.forecast.Complete(checked->job, checked->report->mutable_plan());
          Message message;
          answer(*std::move(checked), message);
          return message;
        };
      });
}

grpc::ServerWriteReactor<v1::CheckDataResponse>* FineTuningService::CheckData(
    Context* context, const v1::CheckDataRequest* request) {
  return CheckSpec<v1::CheckDataResponse>(
      context, "CheckData", request->spec(),
      [](Submitter::Checked checked, v1::CheckDataResponse& response) {
        *response.mutable_report() = *std::move(checked.report);
        for (std::string& warning : checked.warnings) response.add_warnings(std::move(warning));
      });
}

grpc::ServerWriteReactor<v1::EstimateJobResponse>* FineTuningService::EstimateJob(
    Context* context, const v1::EstimateJobRequest* request) {
  return CheckSpec<v1::EstimateJobResponse>(
      context, "EstimateJob", request->spec(),
      [this](Submitter::Checked checked, v1::EstimateJobResponse& response) {
        v1::Estimate& estimate = *response.mutable_estimate();
        *estimate.mutable_spec() = *SpecOf(checked.job);
        *estimate.mutable_plan() = std::move(*checked.report->mutable_plan());
        for (std::string& warning : checked.warnings) estimate.add_warnings(std::move(warning));
        parts_.forecast.AddPlace(&estimate);
      });
}

FineTuningService::Unary* FineTuningService::SubmitJob(Context* context,
                                                       const v1::SubmitJobRequest* request,
                                                       v1::Job* response) {
  TaskPool& pool = LaneOf(*request, parts_.submitter.model_finder(), parts_.lanes);
  return StartOnPool(pool, context, {"SubmitJob", ""},
                     [=, this](const Caller& caller, const auto&, const Finish& finish) {
                       Submit(*context, caller, *request, response, finish);
                     });
}

FineTuningService::Unary* FineTuningService::GetJob(Context* context,
                                                    const v1::GetJobRequest* request,
                                                    v1::Job* response) {
  return OnPool(context, {"GetJob", request->job()}, [=, this](const auto&, const auto& job) {
    return View(parts_.store.Get(job), response);
  });
}

// This and the calls below are qualified with ftd:: where a function of server/requests has the
// name of the method.
FineTuningService::Unary* FineTuningService::CancelJob(Context* context,
                                                       const v1::CancelJobRequest* request,
                                                       v1::Job* response) {
  return OnPool(
      context, {"CancelJob", request->job()},
      [=, this](const auto&, const auto& job) -> absl::Status {
        if (request->reason().size() > kMaxReason) {
          return FieldError({{"reason", absl::StrCat("may have at most ", kMaxReason,
                                                     " bytes; got ", request->reason().size())}});
        }
        return View(request->keep()
                        ? CancelJobAndKeep(parts_.store, parts_.state_dir, job, request->reason())
                        : ftd::CancelJob(parts_.store, job, request->reason()),
                    response);
      });
}

FineTuningService::Unary* FineTuningService::PauseJob(Context* context,
                                                      const v1::PauseJobRequest* request,
                                                      v1::Job* response) {
  return OnPool(context, {"PauseJob", request->job()}, [=, this](const auto&, const auto& job) {
    return View(ftd::PauseJob(parts_.store, job), response);
  });
}

FineTuningService::Unary* FineTuningService::ResumeJob(Context* context,
                                                       const v1::ResumeJobRequest* request,
                                                       v1::Job* response) {
  return OnPool(context, {"ResumeJob", request->job()}, [=, this](const auto&, const auto& job) {
    return View(ftd::ResumeJob(parts_.store, job), response);
  });
}

FineTuningService::Unary* FineTuningService::HoldJob(Context* context,
                                                     const v1::HoldJobRequest* request,
                                                     v1::Job* response) {
  return OnPool(context, {"HoldJob", request->job()}, [=, this](const auto&, const auto& job) {
    return View(ftd::HoldJob(parts_.store, job), response);
  });
}

FineTuningService::Unary* FineTuningService::ReleaseJob(Context* context,
                                                        const v1::ReleaseJobRequest* request,
                                                        v1::Job* response) {
  return OnPool(context, {"ReleaseJob", request->job()}, [=, this](const auto&, const auto& job) {
    return View(ftd::ReleaseJob(parts_.store, job), response);
  });
}

FineTuningService::Unary* FineTuningService::UpdateJob(Context* context,
                                                       const v1::UpdateJobRequest* request,
                                                       v1::Job* response) {
  return OnPool(context, {"UpdateJob", request->job()}, [=, this](const auto&, const auto& job) {
    JobChanges changes{
        .labels = {request->labels().begin(), request->labels().end()},
        .remove_labels = {request->remove_labels().begin(), request->remove_labels().end()}};
    if (request->has_priority()) changes.priority = request->priority();
    if (request->has_time_limit_seconds())
      changes.time_limit_seconds = request->time_limit_seconds();
    return View(ftd::UpdateJob(parts_.store, job, changes), response);
  });
}

FineTuningService::Unary* FineTuningService::RetryJob(Context* context,
                                                      const v1::RetryJobRequest* request,
                                                      v1::Job* response) {
  return OnPool(context, {"RetryJob", request->job()},
                [=, this](const Caller& caller, const auto& job) -> absl::Status {
                  FTD_RETURN_IF_ERROR(CheckServing());
                  FTD_RETURN_IF_ERROR(parts_.quotas.CheckStored(caller));
                  std::optional<RequestKey> key;
                  if (!request->request_id().empty())
                    key = {request->request_id(), BodyHash(*request)};
                  return View(parts_.submitter.Retry(job, caller, key), response);
                });
}

FineTuningService::Unary* FineTuningService::DeleteJob(Context* context,
                                                       const v1::DeleteJobRequest* request,
                                                       v1::DeleteJobResponse*) {
  return OnPool(context, {"DeleteJob", request->job()}, [=, this](const auto&, const auto& job) {
    return ftd::DeleteJob(parts_.store, parts_.state_dir, job, request->results());
  });
}

// A job counts as running from its first attempt's start until its worker has ended.
FineTuningService::Unary* FineTuningService::GetServerInfo(Context* context,
                                                           const v1::GetServerInfoRequest*,
                                                           v1::ServerInfo* response) {
  return OnPool(context, {"GetServerInfo", ""},
                [=, this](const auto&, const auto&) -> absl::Status {
                  *response = parts_.server_info();
                  FTD_ASSIGN_OR_RETURN(const auto drain, parts_.store.GetDrain());
                  if (drain.has_value()) *response->mutable_drain() = ToWire(*drain);
                  response->set_queued(parts_.store.CountByState().at(JobState::kQueued));
                  response->set_running(parts_.store.CountActive());
                  return absl::OkStatus();
                });
}

}  // namespace ftd

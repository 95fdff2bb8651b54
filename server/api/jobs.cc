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
#include "server/jobs/wire.h"
#include "server/requests/job_control.h"
#include "server/requests/job_view.h"
#include "server/requests/spec_limits.h"
#include "server/streams/grpc_status.h"
#include "server/streams/queue_source.h"
#include "server/streams/stream_reactor.h"
#include "server/streams/task_stream.h"
#include "server/streams/watch_source.h"

namespace ftd {
namespace {

constexpr size_t kMaxReason = 4096;

// Returns the hash by which a request_id that comes again is told from one that is used for another
// request. Labels are a map, whose order on the wire is free: two equal requests must hash alike.
template <typename Request>
std::string BodyHash(Request request) {
  request.clear_request_id();
  std::string bytes;
  {
    google::protobuf::io::StringOutputStream sink(&bytes);
    google::protobuf::io::CodedOutputStream coded(&sink);
    coded.SetSerializationDeterministic(true);
    request.SerializeToCodedStream(&coded);
  }
  return Sha256Hex(bytes);
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

// Returns the request in the form that the parts below the API know: the spec as JSON with the
// proto's own field names, as it is stored with the job.
absl::StatusOr<Submission> ToSubmission(const v1::SubmitJobRequest& request,
                                        const std::string& owner) {
  FTD_RETURN_IF_ERROR(CheckSpec(request.spec()));
  Submission submission{.name = request.name(),
                        .labels = {request.labels().begin(), request.labels().end()},
                        .priority = request.priority(),
                        .owner = RepairUtf8(owner)};  // as the system or a certificate has it
  auto spec_json = MessageToJson(request.spec());
  if (!spec_json.ok()) return FieldError({{"spec", "has a value that JSON cannot hold"}});
  submission.spec_json = *std::move(spec_json);
  if (!request.request_id().empty()) submission.request = {request.request_id(), BodyHash(request)};
  return submission;
}

}  // namespace

// gRPC's own threads must not wait for the database or the disk, so each call does its work on the
// pool. The reactor lives until Finish; `request` and `response` live as long.
FineTuningService::Unary* FineTuningService::OnPool(TaskPool& pool, Context* context,
                                                    std::function<absl::Status()> work) {
  Unary* reactor = context->DefaultReactor();
  pool.Post([reactor, work = std::move(work)] { reactor->Finish(ToGrpc(work())); });
  return reactor;
}

// Answers with the job as it is now, or with the error that kept it from changing.
absl::Status FineTuningService::View(const absl::StatusOr<Job>& job, v1::Job* response) {
  FTD_RETURN_IF_ERROR(job.status());
  FTD_ASSIGN_OR_RETURN(*response, ViewJob(parts_.store, parts_.state_dir, *job));
  return absl::OkStatus();
}

absl::Status FineTuningService::CheckServing() const {
  if (!parts_.stopping()) return absl::OkStatus();
  return Error(Reason::kStopping, "ftd is stopping; nothing was queued, try again");
}

absl::Status FineTuningService::Submit(const Context& context, const v1::SubmitJobRequest& request,
                                       v1::Job* response) {
  // A job that was stored while the daemon stops would be safe, but its client would not be told
  // so.
  FTD_RETURN_IF_ERROR(CheckServing());
  const auto submission = ToSubmission(request, parts_.user_of(context));
  if (!submission.ok()) return ByRequestPath(submission.status());
  if (!request.validate_only())
    return ByRequestPath(View(parts_.submitter.Submit(*submission), response));
  const auto go_on = [&] { return !parts_.stopping() && !context.IsCancelled(); };
  auto validated = parts_.submitter.Validate(*submission, go_on);
  if (!validated.ok()) return ByRequestPath(validated.status());
  *response = ToWire(validated->job);
  if (validated->report.has_value())
    *response->mutable_data_report() = *std::move(validated->report);
  return absl::OkStatus();
}

// Reads all rows, which takes minutes for a large file, so it is a task with a thread of its own.
grpc::ServerWriteReactor<v1::CheckDataResponse>* FineTuningService::CheckData(
    Context*, const v1::CheckDataRequest* request) {
  v1::SubmitJobRequest asked;
  *asked.mutable_spec() = request->spec();
  return StartTask<v1::CheckDataResponse>(
      parts_.hub, [this, asked](const auto& controls) -> absl::StatusOr<v1::CheckDataResponse> {
        const auto submission = ToSubmission(asked, /*owner=*/"");
        if (!submission.ok()) return ByRequestPath(submission.status());
        auto response = parts_.submitter.CheckData(*submission, controls);
        if (!response.ok()) return ByRequestPath(response.status());
        return response;
      });
}

// A submit may wait for the hub, so it has a pool of its own: many of them do not keep others from
// being answered.
FineTuningService::Unary* FineTuningService::SubmitJob(Context* context,
                                                       const v1::SubmitJobRequest* request,
                                                       v1::Job* response) {
  return OnPool(parts_.submit_pool, context,
                [=, this] { return Submit(*context, *request, response); });
}

FineTuningService::Unary* FineTuningService::GetJob(Context* context,
                                                    const v1::GetJobRequest* request,
                                                    v1::Job* response) {
  return OnPool(context, [=, this] { return View(parts_.store.Get(request->job()), response); });
}

// This and the calls below are qualified with ftd:: where a function of server/requests has the
// name of the method.
FineTuningService::Unary* FineTuningService::CancelJob(Context* context,
                                                       const v1::CancelJobRequest* request,
                                                       v1::Job* response) {
  return OnPool(context, [=, this]() -> absl::Status {
    if (request->reason().size() > kMaxReason) {
      return FieldError({{"reason", absl::StrCat("may have at most ", kMaxReason, " bytes; got ",
                                                 request->reason().size())}});
    }
    const auto job =
        request->keep()
            ? CancelJobAndKeep(parts_.store, parts_.state_dir, request->job(), request->reason())
            : ftd::CancelJob(parts_.store, request->job(), request->reason());
    return View(job, response);
  });
}

FineTuningService::Unary* FineTuningService::PauseJob(Context* context,
                                                      const v1::PauseJobRequest* request,
                                                      v1::Job* response) {
  return OnPool(context,
                [=, this] { return View(ftd::PauseJob(parts_.store, request->job()), response); });
}

FineTuningService::Unary* FineTuningService::ResumeJob(Context* context,
                                                       const v1::ResumeJobRequest* request,
                                                       v1::Job* response) {
  return OnPool(context,
                [=, this] { return View(ftd::ResumeJob(parts_.store, request->job()), response); });
}

FineTuningService::Unary* FineTuningService::HoldJob(Context* context,
                                                     const v1::HoldJobRequest* request,
                                                     v1::Job* response) {
  return OnPool(context,
                [=, this] { return View(ftd::HoldJob(parts_.store, request->job()), response); });
}

FineTuningService::Unary* FineTuningService::ReleaseJob(Context* context,
                                                        const v1::ReleaseJobRequest* request,
                                                        v1::Job* response) {
  return OnPool(
      context, [=, this] { return View(ftd::ReleaseJob(parts_.store, request->job()), response); });
}

FineTuningService::Unary* FineTuningService::UpdateJob(Context* context,
                                                       const v1::UpdateJobRequest* request,
                                                       v1::Job* response) {
  return OnPool(context, [=, this] {
    JobChanges changes{
        .labels = {request->labels().begin(), request->labels().end()},
        .remove_labels = {request->remove_labels().begin(), request->remove_labels().end()}};
    if (request->has_priority()) changes.priority = request->priority();
    return View(ftd::UpdateJob(parts_.store, request->job(), changes), response);
  });
}

FineTuningService::Unary* FineTuningService::RetryJob(Context* context,
                                                      const v1::RetryJobRequest* request,
                                                      v1::Job* response) {
  return OnPool(context, [=, this]() -> absl::Status {
    FTD_RETURN_IF_ERROR(CheckServing());
    std::optional<RequestKey> key;
    if (!request->request_id().empty()) key = {request->request_id(), BodyHash(*request)};
    return View(parts_.submitter.Retry(request->job(), parts_.user_of(*context), key), response);
  });
}

FineTuningService::Unary* FineTuningService::DeleteJob(Context* context,
                                                       const v1::DeleteJobRequest* request,
                                                       v1::DeleteJobResponse*) {
  return OnPool(context, [=, this] {
    return ftd::DeleteJob(parts_.store, parts_.state_dir, request->job(), request->results());
  });
}

// Streams are opened on gRPC's thread, which reads no more than the job and its history for that;
// the rest is read when the hub wakes the stream.
grpc::ServerWriteReactor<v1::WatchJobResponse>* FineTuningService::WatchJob(
    Context*, const v1::WatchJobRequest* request) {
  auto reader =
      WatchReader::Open(parts_.store, parts_.state_dir, request->job(), request->resume_token());
  if (!reader.ok()) return StreamReactor<v1::WatchJobResponse>::Refuse(reader.status());
  const std::string job_id = reader->job_id();
  return StreamReactor<v1::WatchJobResponse>::Start(
      std::make_unique<WatchSource>(*std::move(reader)), &parts_.hub, job_id);
}

grpc::ServerWriteReactor<v1::WatchQueueResponse>* FineTuningService::WatchQueue(
    Context*, const v1::WatchQueueRequest* request) {
  auto source = QueueSource::Open(queue_, *request);
  if (!source.ok()) return StreamReactor<v1::WatchQueueResponse>::Refuse(source.status());
  return StreamReactor<v1::WatchQueueResponse>::Start(*std::move(source), &parts_.hub,
                                                      WatchHub::kQueue);
}

// A job counts as running from its first attempt's start until its worker has ended.
FineTuningService::Unary* FineTuningService::GetServerInfo(Context* context,
                                                           const v1::GetServerInfoRequest*,
                                                           v1::ServerInfo* response) {
  return OnPool(context, [=, this]() -> absl::Status {
    *response = parts_.server_info();
    FTD_ASSIGN_OR_RETURN(auto counts, parts_.store.CountByState());
    response->set_queued(counts[JobState::kQueued]);
    response->set_running(counts[JobState::kPreparing] + counts[JobState::kRunning] +
                          counts[JobState::kPausing] + counts[JobState::kCancelling]);
    return absl::OkStatus();
  });
}

}  // namespace ftd

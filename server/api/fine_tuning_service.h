// The API: a thin translation between messages and the daemon's parts. No decision is made here.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.grpc.pb.h"
#include "server/api/lanes.h"
#include "server/generation/generator.h"
#include "server/host/gpus.h"
#include "server/host/state_dir.h"
#include "server/jobs/job_store.h"
#include "server/net/access_tokens.h"
#include "server/requests/access.h"
#include "server/requests/caller.h"
#include "server/requests/exporter.h"
#include "server/requests/model_catalog.h"
#include "server/requests/owner_quotas.h"
#include "server/requests/pruner.h"
#include "server/requests/queue_view.h"
#include "server/requests/submission.h"
#include "server/streams/counted_source.h"
#include "server/streams/stream_reactor.h"
#include "server/streams/upload_reactor.h"
#include "server/streams/watch_hub.h"
#include "server/streams/watch_tails.h"

namespace ftd {

// The parts of the daemon that the service speaks for. All of them outlive it.
struct ServiceParts {
  JobStore& store;
  const StateDir& state_dir;
  Submitter& submitter;
  WatchHub& hub;
  Lanes& lanes;
  UploadLane& uploads;
  AccessTokens& tokens;
  const Access& access;
  OwnerQuotas& quotas;
  Pruner& pruner;
  Exporter& exporter;
  Generator& generator;
  const GpuSampler& gpus;
  const Forecast& forecast;
  const char* device;  // the name of what jobs train on
  std::function<Caller(const grpc::CallbackServerContext&)> caller_of;
  // Everything of GetServerInfo but the counts.
  std::function<v1::ServerInfo()> server_info;
  // The queue was drained or undrained.
  std::function<void()> queue_changed;
  // True once the daemon is stopping: no more submits.
  std::function<bool()> stopping;
};

// Implements ftd.v1.FineTuning with gRPC's callback API. The methods are in seven files, by
// subject: jobs.cc, list_jobs.cc, watches.cc, models.cc, files.cc, tokens.cc and upkeep.cc. Errors
// of each call: proto/ftd/v1/fine_tuning.proto. Thread-safe: gRPC calls it from any thread.
class FineTuningService final
    : public v1::FineTuning::WithRawCallbackMethod_WatchJob<v1::FineTuning::CallbackService> {
 public:
  explicit FineTuningService(ServiceParts parts)
      : parts_(std::move(parts)),
        models_(parts_.store, parts_.submitter.model_finder()),
        queue_(parts_.store, parts_.state_dir, parts_.gpus, parts_.forecast, parts_.device) {}

  // Whether this program knows a method "ftd.v1.FineTuning.GetJob".
  static bool IsMethod(const std::string& name);

  using Context = grpc::CallbackServerContext;
  using Unary = grpc::ServerUnaryReactor;

  Unary* SubmitJob(Context*, const v1::SubmitJobRequest*, v1::Job*) override;
  grpc::ServerWriteReactor<v1::CheckDataResponse>* CheckData(
      Context*, const v1::CheckDataRequest* request) override;
  grpc::ServerWriteReactor<v1::EstimateJobResponse>* EstimateJob(
      Context*, const v1::EstimateJobRequest* request) override;
  Unary* GetJob(Context*, const v1::GetJobRequest*, v1::Job*) override;
  Unary* ListJobs(Context*, const v1::ListJobsRequest*, v1::ListJobsResponse*) override;
  Unary* CancelJob(Context*, const v1::CancelJobRequest*, v1::Job*) override;
  Unary* PauseJob(Context*, const v1::PauseJobRequest*, v1::Job*) override;
  Unary* ResumeJob(Context*, const v1::ResumeJobRequest*, v1::Job*) override;
  Unary* HoldJob(Context*, const v1::HoldJobRequest*, v1::Job*) override;
  Unary* ReleaseJob(Context*, const v1::ReleaseJobRequest*, v1::Job*) override;
  Unary* UpdateJob(Context*, const v1::UpdateJobRequest*, v1::Job*) override;
  Unary* RetryJob(Context*, const v1::RetryJobRequest*, v1::Job*) override;
  Unary* DeleteJob(Context*, const v1::DeleteJobRequest*, v1::DeleteJobResponse*) override;

  Unary* ListModels(Context*, const v1::ListModelsRequest*, v1::ListModelsResponse*) override;
  Unary* DeleteModel(Context*, const v1::DeleteModelRequest*, v1::DeleteModelResponse*) override;
  grpc::ServerWriteReactor<v1::PullModelResponse>* PullModel(
      Context*, const v1::PullModelRequest* request) override;
  grpc::ServerWriteReactor<v1::VerifyModelResponse>* VerifyModel(
      Context*, const v1::VerifyModelRequest* request) override;
  Unary* ListCheckpoints(Context*, const v1::ListCheckpointsRequest*,
                         v1::ListCheckpointsResponse*) override;
  Unary* CreateToken(Context*, const v1::CreateTokenRequest*, v1::CreateTokenResponse*) override;
  Unary* ListTokens(Context*, const v1::ListTokensRequest*, v1::ListTokensResponse*) override;
  Unary* RevokeToken(Context*, const v1::RevokeTokenRequest*, v1::RevokeTokenResponse*) override;
  Unary* Prune(Context*, const v1::PruneRequest*, v1::PruneResponse*) override;
  grpc::ServerWriteReactor<v1::BackUpDatabaseResponse>* BackUpDatabase(
      Context*, const v1::BackUpDatabaseRequest*) override;
  Unary* DrainQueue(Context*, const v1::DrainQueueRequest*, v1::DrainQueueResponse*) override;
  Unary* UndrainQueue(Context*, const v1::UndrainQueueRequest*, v1::UndrainQueueResponse*) override;
  Unary* GetServerInfo(Context*, const v1::GetServerInfoRequest*, v1::ServerInfo*) override;
  grpc::ServerReadReactor<v1::UploadFileRequest>* UploadFile(Context*,
                                                             v1::UploadFileResponse*) override;
  // Its messages are encoded once for all who watch a job, so gRPC gets them as bytes.
  grpc::ServerWriteReactor<grpc::ByteBuffer>* WatchJob(Context*, const grpc::ByteBuffer*) override;
  grpc::ServerWriteReactor<v1::WatchQueueResponse>* WatchQueue(
      Context*, const v1::WatchQueueRequest*) override;
  grpc::ServerWriteReactor<v1::TailLogResponse>* TailLog(Context*,
                                                         const v1::TailLogRequest*) override;
  grpc::ServerWriteReactor<v1::QueryMetricsResponse>* QueryMetrics(
      Context*, const v1::QueryMetricsRequest*) override;
  grpc::ServerWriteReactor<v1::DownloadResultResponse>* DownloadResult(
      Context*, const v1::DownloadResultRequest*) override;
  grpc::ServerWriteReactor<v1::ExportJobResponse>* ExportJob(
      Context*, const v1::ExportJobRequest* request) override;
  grpc::ServerWriteReactor<v1::GenerateResponse>* Generate(
      Context*, const v1::GenerateRequest* request) override;
  grpc::ServerWriteReactor<v1::PushResultResponse>* PushResult(
      Context*, const v1::PushResultRequest* request) override;

 private:
  // What a call asks for: a method of AccessTable, and the job that its request names, if any.
  struct Asked {
    const char* method;
    std::string job;
  };
  // Gets the caller and the job's id ("" if the request names none).
  using Work = std::function<absl::Status(const Caller&, const std::string& job)>;
  // Ends a call, on any thread. Called once.
  using Finish = std::function<void(const absl::Status&)>;
  using Start = std::function<void(const Caller&, const std::string& job, const Finish&)>;
  // Runs `work` on the pool, by default that of the method's kind, if the caller may call the
  // method for the job, and finishes the call with the status.
  Unary* OnPool(Context* context, Asked asked, Work work) {
    const bool writes = AccessRowOf(asked.method).touches == Touches::kChanges;
    return OnPool(writes ? parts_.lanes.writes : parts_.lanes.reads, context, std::move(asked),
                  std::move(work));
  }
  Unary* OnPool(TaskPool& pool, Context* context, Asked asked, Work work) {
    return StartOnPool(
        pool, context, std::move(asked),
        [work = std::move(work)](const Caller& caller, const std::string& job,
                                 const Finish& finish) { finish(work(caller, job)); });
  }
  // The same for work that is only started on the pool.
  Unary* StartOnPool(TaskPool& pool, Context* context, Asked asked, Start start);
  template <typename Message>
  using Source = std::unique_ptr<StreamSource<Message>>;
  // Opens what a stream sends, for the caller and the job's id.
  template <typename Message>
  using Open =
      std::function<absl::StatusOr<OpenedStream<Message>>(const Caller&, const std::string& job)>;
  // Starts a stream, which counts among its caller's, if the caller may call the method for the
  // job. All that looks at the disk, the opening too, is done on `lane`.
  template <typename Message>
  grpc::ServerWriteReactor<Message>* Stream(TaskPool& lane, Context* context, Asked asked,
                                            Open<Message> open);
  // Starts a stream that does a long piece of work, which wakes it through the hub, under a key
  // that no other stream has.
  template <typename Message>
  using TaskWork =
      std::function<typename ClientTask<Message>::Work(const Caller&, const std::string& job)>;
  template <typename Message>
  grpc::ServerWriteReactor<Message>* Task(Context* context, Asked asked, TaskWork<Message> work);
  // A task that reads all rows of a spec, and `answer`s with what they are and what a job would
  // need.
  template <typename Message>
  grpc::ServerWriteReactor<Message>* CheckSpec(
      Context* context, const char* method, const v1::JobSpec& spec,
      std::function<void(Submitter::Checked, Message&)> answer);
  // Returns UNAVAILABLE while the daemon is stopping: nothing is queued then.
  absl::Status CheckServing() const;
  // The bodies of SubmitJob and ListJobs; View turns a job into a response.
  void Submit(const Context& context, const Caller& caller, const v1::SubmitJobRequest& request,
              v1::Job* response, const Finish& finish);
  absl::Status Validate(const Context& context, const Submission& submission, v1::Job* response);
  absl::Status List(const Caller& caller, const v1::ListJobsRequest& request,
                    v1::ListJobsResponse* response);
  absl::Status View(const absl::StatusOr<Job>& job, v1::Job* response);

  const ServiceParts parts_;
  WatchTails tails_{parts_.lanes.follows, parts_.hub};
  const ModelCatalog models_;
  const QueueView queue_;
};

template <typename Message>
grpc::ServerWriteReactor<Message>* FineTuningService::Stream(TaskPool& lane, Context* context,
                                                             Asked asked, Open<Message> open) {
  return StreamReactor<Message>::Start(lane, [=, this]() -> absl::StatusOr<OpenedStream<Message>> {
    const Caller caller = parts_.caller_of(*context);
    FTD_ASSIGN_OR_RETURN(const std::string job,
                         parts_.access.Check(caller, asked.method, asked.job));
    FTD_ASSIGN_OR_RETURN(auto slot, parts_.quotas.OpenStream(caller));
    FTD_ASSIGN_OR_RETURN(OpenedStream<Message> opened, open(caller, job));
    opened.source =
        std::make_unique<CountedSource<Message>>(std::move(opened.source), std::move(slot));
    return opened;
  });
}

// The work begins only once its stream is allowed.
template <typename Message>
grpc::ServerWriteReactor<Message>* FineTuningService::Task(Context* context, Asked asked,
                                                           TaskWork<Message> work) {
  return Stream<Message>(
      parts_.lanes.follows, context, std::move(asked),
      [work = std::move(work), &hub = parts_.hub](
          const Caller& caller, const std::string& job) -> absl::StatusOr<OpenedStream<Message>> {
        const std::string key = hub.NewKey();
        return OpenedStream<Message>{.source = std::make_unique<ClientTask<Message>>(
                                         [&hub, key] { hub.Notify(key); }, work(caller, job)),
                                     .hub = &hub,
                                     .key = key};
      });
}

}  // namespace ftd

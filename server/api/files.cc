// The calls that send files to the daemon, and those that read what a job's attempts left in files.
#include <memory>
#include <utility>

#include "lib/base/error.h"
#include "server/api/fine_tuning_service.h"
#include "server/api/page.h"
#include "server/attempts/attempt_files.h"
#include "server/streams/log_source.h"
#include "server/streams/result_source.h"
#include "server/streams/steps_source.h"
#include "server/streams/stream_reactor.h"
#include "server/streams/upload_reactor.h"

namespace ftd {
namespace {

// An upload that ends at once.
class RefusedUpload : public grpc::ServerReadReactor<v1::UploadFileRequest> {
 public:
  explicit RefusedUpload(const absl::Status& status) { Finish(ToGrpc(status)); }
  void OnDone() override { delete this; }
};

// Where a checkpoint comes in the list of a job's, which is ordered by step, then attempt. Unlike
// its index this stays when older ones are removed.
int64_t PlaceOf(const v1::Checkpoint& checkpoint) {
  constexpr int kAttemptBits = 20;
  return (checkpoint.step() << kAttemptBits) + checkpoint.attempt();
}

}  // namespace

// The reactor owns itself and deletes itself when gRPC is done with the call.
grpc::ServerReadReactor<v1::UploadFileRequest>* FineTuningService::UploadFile(
    Context* context, v1::UploadFileResponse* response) {
  const auto allowed = Allowed(*context, {"UploadFile", ""});
  if (!allowed.ok()) return std::make_unique<RefusedUpload>(allowed.status()).release();
  const Caller caller = parts_.caller_of(*context);
  const auto admit = [this, caller](const auto& header) {
    return parts_.quotas.AdmitUpload(caller, header.sha256(), header.size_bytes());
  };
  return UploadReactor::Start(parts_.uploads, caller.owner, admit, response);
}

// Reads the directories rather than the database, so it lists what a resume would find.
FineTuningService::Unary* FineTuningService::ListCheckpoints(
    Context* context, const v1::ListCheckpointsRequest* request,
    v1::ListCheckpointsResponse* response) {
  return OnPool(context, {"ListCheckpoints", request->job()},
                [=, this](const Caller&, const std::string& job) -> absl::Status {
                  FTD_ASSIGN_OR_RETURN(const int64_t after,
                                       DecodePageToken(request->page_token(), job, -1));
                  Page<v1::Checkpoint> page(response->mutable_checkpoints());
                  FTD_ASSIGN_OR_RETURN(auto checkpoints, ListCheckpointDirs(parts_.state_dir, job));
                  for (v1::Checkpoint& checkpoint : checkpoints) {
                    if (PlaceOf(checkpoint) <= after) continue;
                    if (page.Add(std::move(checkpoint))) continue;
                    const auto& last = *response->checkpoints().rbegin();
                    response->set_next_page_token(EncodePageToken(PlaceOf(last), job));
                    break;
                  }
                  return absl::OkStatus();
                });
}

grpc::ServerWriteReactor<v1::TailLogResponse>* FineTuningService::TailLog(
    Context* context, const v1::TailLogRequest* request) {
  using Message = v1::TailLogResponse;
  const auto job = Allowed(*context, {"TailLog", request->job()});
  if (!job.ok()) return StreamReactor<Message>::Refuse(job.status());
  v1::TailLogRequest asked = *request;
  asked.set_job(*job);  // the one that was judged: a name may be another's by now
  WatchHub* hub = asked.follow() ? &parts_.hub : nullptr;
  return Stream<Message>(*context, LogSource::Open(parts_.store, parts_.state_dir, asked), hub,
                         *job);
}

grpc::ServerWriteReactor<v1::QueryMetricsResponse>* FineTuningService::QueryMetrics(
    Context* context, const v1::QueryMetricsRequest* request) {
  using Message = v1::QueryMetricsResponse;
  const auto job = Allowed(*context, {"QueryMetrics", request->job()});
  if (!job.ok()) return StreamReactor<Message>::Refuse(job.status());
  v1::QueryMetricsRequest asked = *request;
  asked.set_job(*job);
  return Stream<Message>(*context, StepsSource::Open(parts_.store, parts_.state_dir, asked),
                         nullptr);
}

grpc::ServerWriteReactor<v1::DownloadResultResponse>* FineTuningService::DownloadResult(
    Context* context, const v1::DownloadResultRequest* request) {
  using Message = v1::DownloadResultResponse;
  const auto allowed = Allowed(*context, {"DownloadResult", request->job()});
  const auto job = allowed.ok() ? parts_.store.Get(*allowed) : allowed.status();
  if (!job.ok()) return StreamReactor<Message>::Refuse(job.status());
  return Stream<Message>(*context, ResultSource::Open(*job), nullptr);
}

}  // namespace ftd

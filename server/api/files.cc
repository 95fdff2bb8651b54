// The calls that send files to the daemon, and those that read what a job's attempts left in files.
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/time.h"
#include "lib/base/error.h"
#include "server/api/fine_tuning_service.h"
#include "server/api/page.h"
#include "server/attempts/attempt_files.h"
#include "server/requests/result_lookup.h"
#include "server/requests/result_push.h"
#include "server/streams/log_source.h"
#include "server/streams/result_source.h"
#include "server/streams/steps_source.h"
#include "server/streams/stream_reactor.h"
#include "server/streams/upload_reactor.h"

namespace ftd {
namespace {

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
  return UploadReactor::Start(
      parts_.uploads,
      [this, context]() -> absl::StatusOr<UploadReactor::Sender> {
        const Caller caller = parts_.caller_of(*context);
        FTD_RETURN_IF_ERROR(parts_.access.Check(caller, "UploadFile", "").status());
        return UploadReactor::Sender{caller.owner, [this, caller](const auto& header) {
                                       return parts_.quotas.AdmitUpload(caller, header.sha256(),
                                                                        header.size_bytes());
                                     }};
      },
      response);
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
  return Stream<Message>(
      parts_.lanes.follows, context, {"TailLog", request->job()},
      [this, asked = *request](const auto&,
                               const auto& job) -> absl::StatusOr<OpenedStream<Message>> {
        v1::TailLogRequest request = asked;
        request.set_job(job);  // the one that was judged: a name may be another's by now
        FTD_ASSIGN_OR_RETURN(auto source, LogSource::Open(parts_.store, parts_.state_dir, request));
        WatchHub* const hub = request.follow() ? &parts_.hub : nullptr;
        return OpenedStream<Message>{.source = std::move(source), .hub = hub, .key = job};
      });
}

grpc::ServerWriteReactor<v1::QueryMetricsResponse>* FineTuningService::QueryMetrics(
    Context* context, const v1::QueryMetricsRequest* request) {
  using Message = v1::QueryMetricsResponse;
  return Stream<Message>(
      parts_.lanes.queries, context, {"QueryMetrics", request->job()},
      [this, asked = *request](const auto&,
                               const auto& job) -> absl::StatusOr<OpenedStream<Message>> {
        v1::QueryMetricsRequest request = asked;
        request.set_job(job);
        FTD_ASSIGN_OR_RETURN(auto source,
                             StepsSource::Open(parts_.store, parts_.state_dir, request));
        return OpenedStream<Message>{.source = std::move(source)};
      });
}

grpc::ServerWriteReactor<v1::DownloadResultResponse>* FineTuningService::DownloadResult(
    Context* context, const v1::DownloadResultRequest* request) {
  using Message = v1::DownloadResultResponse;
  return Stream<Message>(parts_.lanes.downloads, context, {"DownloadResult", request->job()},
                         [this, name = request->export_name()](
                             const auto&, const auto& id) -> absl::StatusOr<OpenedStream<Message>> {
                           FTD_ASSIGN_OR_RETURN(const Job job, parts_.store.Get(id));
                           FTD_RETURN_IF_ERROR(CheckNotPruned(parts_.store, job));
                           FTD_RETURN_IF_ERROR(CheckHasResult(job));
                           FTD_ASSIGN_OR_RETURN(const auto dir, parts_.exporter.Find(job, name));
                           FTD_ASSIGN_OR_RETURN(auto source, ResultSource::Open(dir));
                           return OpenedStream<Message>{.source = std::move(source)};
                         });
}

// Takes minutes for a large model: a task like PullModel, of the job's id, since a name may be
// another's by the time that the work begins.
grpc::ServerWriteReactor<v1::ExportJobResponse>* FineTuningService::ExportJob(
    Context* context, const v1::ExportJobRequest* request) {
  using Message = v1::ExportJobResponse;
  return Task<Message>(context, {"ExportJob", request->job()},
                       [this, request = *request](const auto&, const std::string& job) {
                         return [=, this](const auto& controls) -> absl::StatusOr<Message> {
                           Message message;
                           FTD_ASSIGN_OR_RETURN(*message.mutable_outcome(),
                                                parts_.exporter.Export(job, request, controls));
                           return message;
                         };
                       });
}

grpc::ServerWriteReactor<v1::PushResultResponse>* FineTuningService::PushResult(
    Context* context, const v1::PushResultRequest* request) {
  using Message = v1::PushResultResponse;
  return Task<Message>(context, {"PushResult", request->job()},
                       [this, request = *request](const auto&, const std::string& job) {
                         return [=, this](const auto& controls) -> absl::StatusOr<Message> {
                           Message message;
                           FTD_ASSIGN_OR_RETURN(
                               *message.mutable_outcome(),
                               ftd::PushResult(parts_.store, job, request, controls));
                           return message;
                         };
                       });
}

}  // namespace ftd

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

// Starts a stream of what the source reads, or refuses the call with the reason why it could not be
// opened. With a hub the stream is woken by the job's news; without one it ends when all is sent.
template <typename Source, typename Message>
grpc::ServerWriteReactor<Message>* Stream(absl::StatusOr<std::unique_ptr<Source>> source,
                                          WatchHub* hub, const std::string& job_id) {
  if (!source.ok()) return StreamReactor<Message>::Refuse(source.status());
  return StreamReactor<Message>::Start(*std::move(source), hub, job_id);
}

// Where a checkpoint comes in the list of a job's, which is ordered by step, then attempt. Unlike
// its index this stays when older ones are removed.
int64_t PlaceOf(const v1::Checkpoint& checkpoint) {
  constexpr int kAttemptBits = 20;
  return (checkpoint.step() << kAttemptBits) + checkpoint.attempt();
}

}  // namespace

// The reactor owns itself and deletes itself when gRPC is done with the call.
grpc::ServerReadReactor<v1::UploadFileRequest>* FineTuningService::UploadFile(
    Context*, v1::UploadFileResponse* response) {
  return std::make_unique<UploadReactor>(parts_.state_dir.Uploads(), parts_.pool, response)
      .release();
}

// Reads the directories rather than the database, so it lists what a resume would find.
FineTuningService::Unary* FineTuningService::ListCheckpoints(
    Context* context, const v1::ListCheckpointsRequest* request,
    v1::ListCheckpointsResponse* response) {
  return OnPool(context, [=, this]() -> absl::Status {
    FTD_ASSIGN_OR_RETURN(const Job job, parts_.store.Get(request->job()));
    FTD_ASSIGN_OR_RETURN(const int64_t after, DecodePageToken(request->page_token(), job.id, -1));
    Page<v1::Checkpoint> page(response->mutable_checkpoints());
    FTD_ASSIGN_OR_RETURN(auto checkpoints, ListCheckpointDirs(parts_.state_dir, job.id));
    for (v1::Checkpoint& checkpoint : checkpoints) {
      if (PlaceOf(checkpoint) <= after) continue;
      if (page.Add(std::move(checkpoint))) continue;
      const auto& last = *response->checkpoints().rbegin();
      response->set_next_page_token(EncodePageToken(PlaceOf(last), job.id));
      break;
    }
    return absl::OkStatus();
  });
}

grpc::ServerWriteReactor<v1::TailLogResponse>* FineTuningService::TailLog(
    Context*, const v1::TailLogRequest* request) {
  auto source = LogSource::Open(parts_.store, parts_.state_dir, *request);
  const std::string job_id = source.ok() ? (*source)->job_id() : "";
  WatchHub* hub = request->follow() ? &parts_.hub : nullptr;
  return Stream<LogSource, v1::TailLogResponse>(std::move(source), hub, job_id);
}

grpc::ServerWriteReactor<v1::QueryMetricsResponse>* FineTuningService::QueryMetrics(
    Context*, const v1::QueryMetricsRequest* request) {
  return Stream<StepsSource, v1::QueryMetricsResponse>(
      StepsSource::Open(parts_.store, parts_.state_dir, *request), nullptr, "");
}

grpc::ServerWriteReactor<v1::DownloadResultResponse>* FineTuningService::DownloadResult(
    Context*, const v1::DownloadResultRequest* request) {
  const auto job = parts_.store.Get(request->job());
  if (!job.ok()) return StreamReactor<v1::DownloadResultResponse>::Refuse(job.status());
  return Stream<ResultSource, v1::DownloadResultResponse>(ResultSource::Open(*job), nullptr, "");
}

}  // namespace ftd

// The calls that follow a job, or the queue.
#include <memory>
#include <utility>

#include "lib/base/error.h"
#include "server/api/fine_tuning_service.h"
#include "server/api/malformed_request.h"
#include "server/streams/queue_source.h"
#include "server/streams/watch_source.h"

namespace ftd {

grpc::ServerWriteReactor<grpc::ByteBuffer>* FineTuningService::WatchJob(
    Context* context, const grpc::ByteBuffer* bytes) {
  using Message = grpc::ByteBuffer;
  v1::WatchJobRequest request;
  grpc::ByteBuffer copy = *bytes;
  if (!grpc::SerializationTraits<v1::WatchJobRequest>::Deserialize(&copy, &request).ok()) {
    return StreamReactor<Message>::Start(
        parts_.lanes.follows, [] { return MalformedRequest("/ftd.v1.FineTuning/WatchJob"); });
  }
  return Stream<Message>(
      parts_.lanes.follows, context, {"WatchJob", request.job()},
      [this, token = request.resume_token()](
          const auto&, const auto& job) -> absl::StatusOr<OpenedStream<Message>> {
        FTD_ASSIGN_OR_RETURN(auto reader,
                             WatchReader::Open(parts_.store, parts_.state_dir, job, token));
        FTD_ASSIGN_OR_RETURN(auto tail, tails_.Of(job));
        const std::string key = tail->key();
        return OpenedStream<Message>{
            .source = std::make_unique<WatchSource>(parts_.store, parts_.state_dir,
                                                    std::move(reader), std::move(tail)),
            .hub = &parts_.hub,
            .key = key};
      });
}

grpc::ServerWriteReactor<v1::WatchQueueResponse>* FineTuningService::WatchQueue(
    Context* context, const v1::WatchQueueRequest* request) {
  using Message = v1::WatchQueueResponse;
  return Stream<Message>(
      parts_.lanes.follows, context, {"WatchQueue", ""},
      [this, request = *request](const Caller& caller,
                                 const auto&) -> absl::StatusOr<OpenedStream<Message>> {
        FTD_ASSIGN_OR_RETURN(auto source,
                             QueueSource::Open(queue_, request, parts_.access.OnlyOwner(caller)));
        return OpenedStream<Message>{
            .source = std::move(source), .hub = &parts_.hub, .key = WatchHub::kQueue};
      });
}

}  // namespace ftd

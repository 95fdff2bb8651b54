// The calls about the hub's cache, and those that models answer.
#include <memory>
#include <utility>

#include "lib/base/error.h"
#include "server/api/fine_tuning_service.h"
#include "server/api/page.h"
#include "server/generation/answer_source.h"

namespace ftd {

bool FineTuningService::IsMethod(const std::string& name) {
  return google::protobuf::DescriptorPool::generated_pool()->FindMethodByName(name) != nullptr;
}

// Walks the cache on disk, so it runs on the pool as the unary calls about jobs do.
FineTuningService::Unary* FineTuningService::ListModels(Context* context,
                                                        const v1::ListModelsRequest* request,
                                                        v1::ListModelsResponse* response) {
  return OnPool(context, {"ListModels", ""}, [=, this](const auto&, const auto&) -> absl::Status {
    const std::string filter = "models";
    FTD_ASSIGN_OR_RETURN(int64_t next, DecodePageToken(request->page_token(), filter, 0));
    FTD_ASSIGN_OR_RETURN(v1::ListModelsResponse all, models_.List());
    Page<v1::Model> page(response->mutable_models());
    for (; next >= 0 && next < all.models_size(); ++next) {
      if (page.Add(std::move(*all.mutable_models(static_cast<int>(next))))) continue;
      response->set_next_page_token(EncodePageToken(next, filter));
      break;
    }
    return absl::OkStatus();
  });
}

FineTuningService::Unary* FineTuningService::DeleteModel(Context* context,
                                                         const v1::DeleteModelRequest* request,
                                                         v1::DeleteModelResponse* response) {
  return OnPool(context, {"DeleteModel", ""}, [=, this](const auto&, const auto&) -> absl::Status {
    FTD_ASSIGN_OR_RETURN(*response, models_.Delete(*request));
    return absl::OkStatus();
  });
}

// Runs as a task with a thread of its own and streams its progress.
grpc::ServerWriteReactor<v1::PullModelResponse>* FineTuningService::PullModel(
    Context* context, const v1::PullModelRequest* request) {
  using Message = v1::PullModelResponse;
  return Task<Message>(
      context, {"PullModel", ""}, [this, request = *request](const auto&, const auto&) {
        return [this, request](const auto& controls) { return models_.Pull(request, controls); };
      });
}

// Reads and hashes every file, which takes minutes for a large model: a task like PullModel.
grpc::ServerWriteReactor<v1::VerifyModelResponse>* FineTuningService::VerifyModel(
    Context* context, const v1::VerifyModelRequest* request) {
  using Message = v1::VerifyModelResponse;
  return Task<Message>(
      context, {"VerifyModel", ""}, [this, request = *request](const auto&, const auto&) {
        return [this, request](const auto& controls) { return models_.Verify(request, controls); };
      });
}

grpc::ServerWriteReactor<v1::GenerateResponse>* FineTuningService::Generate(
    Context* context, const v1::GenerateRequest* request) {
  using Message = v1::GenerateResponse;
  return Stream<Message>(
      parts_.lanes.follows, context, {"Generate", request->job()},
      [this, request = *request](const Caller& caller,
                                 const std::string& job) -> absl::StatusOr<OpenedStream<Message>> {
        FTD_RETURN_IF_ERROR(CheckServing());
        const std::string key = parts_.hub.NewKey();
        auto source = std::make_unique<AnswerSource>([&hub = parts_.hub, key] { hub.Notify(key); },
                                                     [=, this](const GenerateObserver& observer) {
                                                       return parts_.generator.Generate(
                                                           request, job, caller, observer);
                                                     });
        return OpenedStream<Message>{.source = std::move(source), .hub = &parts_.hub, .key = key};
      });
}

}  // namespace ftd

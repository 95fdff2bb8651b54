// The calls of an operator's day: what is not needed goes, the database is copied, the queue
// stands.
#include <memory>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "server/api/fine_tuning_service.h"
#include "server/api/page.h"
#include "server/host/log.h"
#include "server/jobs/wire.h"
#include "server/streams/backup_source.h"

namespace ftd {
namespace {

constexpr size_t kMaxDrainMessage = 4096;

v1::PruneResponse::Item ToWire(const Pruned& pruned) {
  const StoredFile& file = pruned.what.file;
  v1::PruneResponse::Item item;
  item.set_kind(ToWire(file.kind));
  item.set_job(file.job);
  item.set_job_name(pruned.what.job_name);
  item.set_path(EscapeInvalidUtf8(file.path.native()));
  item.set_size_bytes(file.bytes);
  *item.mutable_unneeded_time() = ToTimestamp(pruned.what.since);
  if (!pruned.status.ok()) item.set_error(RepairUtf8(std::string(pruned.status.message())));
  return item;
}

}  // namespace

// May take minutes, for large directories on a slow disk.
FineTuningService::Unary* FineTuningService::Prune(Context* context,
                                                   const v1::PruneRequest* request,
                                                   v1::PruneResponse* response) {
  return OnPool(parts_.lanes.upkeep, context, {"Prune", ""},
                [=, this](const Caller& caller, const auto&) -> absl::Status {
                  std::optional<std::string> only_owner;
                  if (caller.role != Role::kAdmin) only_owner = caller.owner;
                  FTD_ASSIGN_OR_RETURN(
                      const auto pruned,
                      parts_.pruner.Prune(only_owner, caller.owner, request->dry_run()));
                  Page<v1::PruneResponse::Item> page(response->mutable_items());
                  bool fits = true;
                  int64_t bytes = 0, freed = 0;
                  for (const Pruned& item : pruned) {
                    bytes += item.what.file.bytes;
                    if (item.status.ok() && !request->dry_run()) freed += item.what.file.bytes;
                    fits = fits && page.Add(ToWire(item));
                  }
                  response->set_total_count(static_cast<int64_t>(pruned.size()));
                  response->set_total_bytes(bytes);
                  response->set_freed_bytes(freed);
                  return absl::OkStatus();
                });
}

grpc::ServerWriteReactor<v1::BackUpDatabaseResponse>* FineTuningService::BackUpDatabase(
    Context* context, const v1::BackUpDatabaseRequest*) {
  using Message = v1::BackUpDatabaseResponse;
  return Stream<Message>(
      parts_.lanes.downloads, context, {"BackUpDatabase", ""},
      [this](const Caller& caller, const auto&) -> absl::StatusOr<OpenedStream<Message>> {
        const std::string key = parts_.hub.NewKey();
        LogInfo("the database is copied, for ", caller.owner);
        auto source = std::make_unique<BackupSource>(parts_.state_dir,
                                                     [&hub = parts_.hub, key] { hub.Notify(key); });
        return OpenedStream<Message>{.source = std::move(source), .hub = &parts_.hub, .key = key};
      });
}

FineTuningService::Unary* FineTuningService::DrainQueue(Context* context,
                                                        const v1::DrainQueueRequest* request,
                                                        v1::DrainQueueResponse* response) {
  return OnPool(
      parts_.lanes.writes, context, {"DrainQueue", ""},
      [=, this](const Caller& caller, const auto&) -> absl::Status {
        if (request->message().size() > kMaxDrainMessage) {
          return FieldError({{"message", absl::StrCat("may have at most ", kMaxDrainMessage,
                                                      " bytes; got ", request->message().size())}});
        }
        const QueueDrain drain{
            .message = request->message(), .owner = caller.owner, .time = absl::Now()};
        FTD_RETURN_IF_ERROR(parts_.store.SetDrain(drain));
        LogInfo("the queue is drained, by ", drain.owner, drain.message.empty() ? "" : ": ",
                drain.message);
        parts_.queue_changed();
        *response->mutable_drain() = ToWire(drain);
        response->set_running(parts_.store.CountActive());
        return absl::OkStatus();
      });
}

FineTuningService::Unary* FineTuningService::UndrainQueue(Context* context,
                                                          const v1::UndrainQueueRequest*,
                                                          v1::UndrainQueueResponse* response) {
  return OnPool(parts_.lanes.writes, context, {"UndrainQueue", ""},
                [=, this](const Caller& caller, const auto&) -> absl::Status {
                  response->set_was_drained(parts_.store.drained());
                  FTD_RETURN_IF_ERROR(parts_.store.SetDrain(std::nullopt));
                  if (response->was_drained()) LogInfo("the queue runs again, by ", caller.owner);
                  parts_.queue_changed();
                  return absl::OkStatus();
                });
}

}  // namespace ftd

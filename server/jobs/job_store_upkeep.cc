// JobStore's part for operators: removals, the drained queue, the place of the files.
#include <algorithm>
#include <iterator>

#include "lib/base/error.h"
#include "server/host/log.h"
#include "server/jobs/job_store.h"
#include "server/jobs/upkeep_sql.h"

namespace ftd {
namespace {

// In the order of RemovalKind.
constexpr const char* kKindNames[] = {"CHECKPOINTS", "LOGS", "RESULT", "UPLOAD"};

}  // namespace

const char* RemovalKindName(RemovalKind kind) { return kKindNames[static_cast<size_t>(kind)]; }

std::optional<RemovalKind> ParseRemovalKind(std::string_view name) {
  for (const RemovalKind kind : kAllRemovalKinds)
    if (name == RemovalKindName(kind)) return kind;
  return std::nullopt;
}

absl::StatusOr<bool> JobStore::RecordRemoval(const std::string& job_id, const Removal& removal) {
  bool there = false;
  FTD_RETURN_IF_ERROR(Write([&](Database& database) -> absl::Status {
    FTD_ASSIGN_OR_RETURN(Statement record, database.Prepare(sql::kRecordRemoval));
    record.Bind(job_id).Bind(RemovalKindName(removal.kind)).Bind(removal.bytes);
    FTD_ASSIGN_OR_RETURN(there, record.BindTime(removal.time).Bind(removal.owner).Step());
    return absl::OkStatus();
  }));
  if (there) ++changes_;
  return there;
}

absl::Status JobStore::ForgetRemoval(const std::string& job_id, RemovalKind kind) {
  FTD_RETURN_IF_ERROR(Write([&](Database& database) -> absl::Status {
    FTD_ASSIGN_OR_RETURN(Statement forget, database.Prepare(sql::kForgetRemoval));
    return forget.Bind(job_id).Bind(RemovalKindName(kind)).Run();
  }));
  ++changes_;
  return absl::OkStatus();
}

absl::StatusOr<std::vector<Removal>> JobQueries::Removals(const std::string& job_id) {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement select, reader_.Prepare(sql::kRemovals));
  select.Bind(job_id);
  std::vector<Removal> removals;
  while (true) {
    FTD_ASSIGN_OR_RETURN(const bool row, select.Step());
    if (!row) return removals;
    const auto kind = ParseRemovalKind(select.Text(0));
    if (!kind.has_value()) continue;  // of a later release
    removals.push_back({.kind = *kind,
                        .bytes = select.Int(1),
                        .time = select.Time(2).value_or(absl::Time()),
                        .owner = select.Text(3)});
  }
}

// In turn with the changes, so that StartAttempt comes before or after it.
absl::Status JobStore::SetDrain(const std::optional<QueueDrain>& drain) {
  const bool before = drained_;
  FTD_RETURN_IF_ERROR(writer_.Run(
      [&](Database& database) -> absl::Status {
        FTD_ASSIGN_OR_RETURN(Statement store,
                             database.Prepare(drain.has_value() ? sql::kSetDrain : sql::kEndDrain));
        if (drain.has_value()) store.Bind(drain->message).Bind(drain->owner).BindTime(drain->time);
        FTD_RETURN_IF_ERROR(store.Run());
        drained_ = drain.has_value();
        return absl::OkStatus();
      },
      [&] { drained_ = before; }));
  ++changes_;
  return absl::OkStatus();
}

absl::StatusOr<std::optional<QueueDrain>> JobQueries::GetDrain() {
  absl::MutexLock lock(&read_mutex_);
  FTD_ASSIGN_OR_RETURN(Statement select, reader_.Prepare(sql::kGetDrain));
  FTD_ASSIGN_OR_RETURN(const bool drained, select.Step());
  if (!drained) return std::nullopt;
  return QueueDrain{.message = select.Text(0),
                    .owner = select.Text(1),
                    .time = select.Time(2).value_or(absl::Time())};
}

absl::Status JobStore::SetPlace(const std::string& state_dir) {
  return Write([&](Database& database) -> absl::Status {
    std::string before;
    {
      FTD_ASSIGN_OR_RETURN(Statement select, database.Prepare(sql::kGetPlace));
      FTD_ASSIGN_OR_RETURN(const bool known, select.Step());
      if (known) before = select.Text(0);
    }
    if (before == state_dir) return absl::OkStatus();
    if (!before.empty()) {
      LogInfo("the jobs come from the state directory ", before);
      for (const char* move : sql::kMovePaths) {
        FTD_ASSIGN_OR_RETURN(Statement update, database.Prepare(move));
        FTD_RETURN_IF_ERROR(update.Bind(before).Bind(state_dir).Run());
      }
      FTD_RETURN_IF_ERROR(database.Run(sql::kForgetWorkers));
    }
    FTD_ASSIGN_OR_RETURN(Statement store, database.Prepare(sql::kSetPlace));
    return store.Bind(state_dir).Run();
  });
}

}  // namespace ftd

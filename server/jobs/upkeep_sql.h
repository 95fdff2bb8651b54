// The statements of job_store_upkeep.cc.
#pragma once

namespace ftd::sql {

// No row comes back if the job has not ended or is gone. A result goes once, and may be recorded
// again by a daemon that completes what another one began.
inline constexpr char kRecordRemoval[] =
    "INSERT INTO removals (job_id, kind, bytes, time, owner) SELECT id, ?2, ?3, ?4, ?5 FROM jobs "
    "WHERE id = ?1 AND state IN ('SUCCEEDED', 'FAILED', 'CANCELLED') "
    "ON CONFLICT DO UPDATE SET bytes = excluded.bytes + iif(kind = 'RESULT', 0, bytes), "
    "time = excluded.time, owner = excluded.owner RETURNING 1";
inline constexpr char kForgetRemoval[] = "DELETE FROM removals WHERE job_id = ? AND kind = ?";
inline constexpr char kRemovals[] =
    "SELECT kind, bytes, time, owner FROM removals WHERE job_id = ? ORDER BY kind";

inline constexpr char kGetDrain[] = "SELECT message, owner, time FROM drain";
inline constexpr char kSetDrain[] =
    "INSERT OR REPLACE INTO drain (only_row, message, owner, time) VALUES (1, ?, ?, ?)";
inline constexpr char kEndDrain[] = "DELETE FROM drain";

inline constexpr char kGetPlace[] = "SELECT state_dir FROM place";
inline constexpr char kSetPlace[] =
    "INSERT OR REPLACE INTO place (only_row, state_dir) VALUES (1, ?)";
// ?1: the old state directory, ?2: the new one. A path in the old one gets its place in the new.
inline constexpr const char* kMovePaths[] = {
    "UPDATE jobs SET result_dir = ?2 || substr(result_dir, length(?1) + 1) "
    "WHERE substr(result_dir, 1, length(?1) + 1) = ?1 || '/'",
    "UPDATE jobs SET dataset_path = ?2 || substr(dataset_path, length(?1) + 1) "
    "WHERE substr(dataset_path, 1, length(?1) + 1) = ?1 || '/'",
    "UPDATE jobs SET model_dir = ?2 || substr(model_dir, length(?1) + 1) "
    "WHERE substr(model_dir, 1, length(?1) + 1) = ?1 || '/'",
    "UPDATE events SET result_dir = ?2 || substr(result_dir, length(?1) + 1) "
    "WHERE substr(result_dir, 1, length(?1) + 1) = ?1 || '/'",
    "UPDATE attempts SET resumed_from = ?2 || substr(resumed_from, length(?1) + 1) "
    "WHERE substr(resumed_from, 1, length(?1) + 1) = ?1 || '/'",
    // A result that a job is to begin with. What has been begun is resumed by its spec as it is.
    "UPDATE jobs SET spec = replace(spec, '\"' || ?1 || '/', '\"' || ?2 || '/') "
    "WHERE start_time = 0"};
// The workers that are known by pid are those of the ftd that the files come from.
inline constexpr char kForgetWorkers[] =
    "UPDATE attempts SET pid = 0, pid_start = 0, boot_id = '' WHERE state = 'ACTIVE'";

}  // namespace ftd::sql

// Every SQL statement of the job store, so that the database's use can be read in one place.
#pragma once

namespace ftd::sql {

// In the order in which JobFromRow reads them.
#define FTD_JOB_COLUMNS                                                                         \
  "ordinal, id, name, state, spec, model_dir, dataset_path, labels, priority, owner, at_head, " \
  "not_before, "                                                                                \
  "crashes, create_time, start_time, end_time, failure_reason, message, hint, result_dir, "     \
  "sources, keep, retry_of, space_wanted"

inline constexpr char kInsertJob[] =
    "INSERT INTO jobs (id, name, state, spec, model_dir, dataset_path, labels, priority, owner, "
    "create_time, sources, retry_of) "
    "VALUES (?, ?, 'QUEUED', ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING ordinal";
inline constexpr char kInsertRequest[] =
    "INSERT INTO requests (request_id, job_id, body_sha256, create_time) VALUES (?, ?, ?, ?)";
inline constexpr char kFindRequest[] =
    "SELECT job_id, body_sha256 FROM requests WHERE request_id = ?";

// Ids begin with "ft-" and names may not be another job's id, so at most one row matches.
inline constexpr char kGetJob[] = "SELECT " FTD_JOB_COLUMNS " FROM jobs WHERE id = ?1 OR name = ?1";
inline constexpr char kNameTaken[] = "SELECT 1 FROM jobs WHERE name = ?1 OR id = ?1";
inline constexpr char kJobByOrdinal[] = "SELECT " FTD_JOB_COLUMNS " FROM jobs WHERE ordinal = ?";
// Newest first, of one state: ordinals below ?1, at most ?2.
inline constexpr char kOrdinals[] =
    "SELECT ordinal FROM jobs WHERE state = ?3 AND ordinal < ?1 ORDER BY ordinal DESC LIMIT ?2";
inline constexpr char kOrdinalsOfOwner[] =
    "SELECT ordinal FROM jobs WHERE owner = ?4 AND state = ?3 AND ordinal < ?1 "
    "ORDER BY ordinal DESC LIMIT ?2";
// What JobIndex knows of a job.
inline constexpr char kIndexOfJobs[] = "SELECT state, owner, at_head, priority, ordinal FROM jobs";
inline constexpr char kQueued[] =
    "SELECT " FTD_JOB_COLUMNS
    " FROM jobs WHERE state = 'QUEUED' ORDER BY at_head DESC, priority DESC, ordinal LIMIT ?";
inline constexpr char kActiveJobs[] =
    "SELECT " FTD_JOB_COLUMNS
    " FROM jobs WHERE state IN ('PREPARING', 'RUNNING', 'PAUSING', 'CANCELLING') ORDER BY ordinal";
inline constexpr char kOldestQueued[] =
    "SELECT create_time FROM jobs WHERE state = 'QUEUED' ORDER BY ordinal LIMIT 1";

// ?10: time of the move to PREPARING, else 0; start_time keeps the first one. ?6: '' leaves
// result_dir.
inline constexpr char kMoveJob[] =
    "UPDATE jobs SET state = ?2, message = ?3, failure_reason = ?4, hint = ?5, "
    "result_dir = CASE ?6 WHEN '' THEN result_dir ELSE ?6 END, at_head = ?7, not_before = ?8, "
    "crashes = ?9, "
    "start_time = CASE start_time WHEN 0 THEN ?10 ELSE start_time END, end_time = ?11, keep = ?12, "
    "space_wanted = ?13 "
    "WHERE id = ?1";
inline constexpr char kAmendJob[] =
    "UPDATE jobs SET message = ?2, priority = ?3, labels = ?4, at_head = ?5, keep = ?6, "
    "space_wanted = ?7 WHERE id = ?1";
// Everything that refers to a job, then the job.
inline constexpr const char* kDeleteJob[] = {
    "DELETE FROM events WHERE job_id = ?", "DELETE FROM attempts WHERE job_id = ?",
    "DELETE FROM requests WHERE job_id = ?", "DELETE FROM notifications WHERE job_id = ?",
    "DELETE FROM jobs WHERE id = ?"};
// Sequences count from 1 in each job, without gaps: a watcher's position is a sequence.
inline constexpr char kInsertEvent[] =
    "INSERT INTO events (job_id, sequence, from_state, to_state, time, message, failure_reason, "
    "hint, attempt, "
    "result_dir) SELECT ?1, 1 + coalesce(max(sequence), 0), ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9 "
    "FROM events WHERE job_id = ?1 RETURNING sequence";
inline constexpr char kEventsAfter[] =
    "SELECT sequence, from_state, to_state, time, message, failure_reason, hint, attempt, "
    "result_dir "
    "FROM events WHERE job_id = ? AND sequence > ? ORDER BY sequence LIMIT ?";

inline constexpr char kInsertAttempt[] =
    "INSERT INTO attempts (job_id, number, state, start_time, resumed_from) VALUES (?, ?, "
    "'ACTIVE', ?, ?)";
inline constexpr char kRecordWorker[] =
    "UPDATE attempts SET pid = ?3, pid_start = ?4, boot_id = ?5 WHERE job_id = ?1 AND number = ?2";
inline constexpr char kEndAttempt[] =
    "UPDATE attempts SET state = ?3, reason = ?4, end_time = ?5, exit_code = ?6, signal = ?7, "
    "first_step = ?8, "
    "last_step = ?9 WHERE job_id = ?1 AND number = ?2 AND state = 'ACTIVE'";
inline constexpr char kAttempts[] =
    "SELECT number, state, reason, start_time, end_time, exit_code, signal, first_step, last_step, "
    "resumed_from, "
    "pid, pid_start, boot_id FROM attempts WHERE job_id = ? ORDER BY number";

inline constexpr char kInsertNotification[] =
    "INSERT OR IGNORE INTO notifications (job_id, channel) VALUES (?, ?)";
inline constexpr char kNextNotification[] =
    "SELECT job_id, channel, tries, not_before FROM notifications ORDER BY not_before, job_id, "
    "channel LIMIT 1";
inline constexpr char kPostponeNotification[] =
    "UPDATE notifications SET tries = tries + 1, not_before = ?3 WHERE job_id = ?1 AND channel = "
    "?2";
inline constexpr char kDeleteNotification[] =
    "DELETE FROM notifications WHERE job_id = ? AND channel = ?";
// ?1: the channels that there are, as a JSON array.
inline constexpr char kDeleteOtherNotifications[] =
    "DELETE FROM notifications WHERE channel NOT IN (SELECT value FROM json_each(?1))";

#undef FTD_JOB_COLUMNS

}  // namespace ftd::sql

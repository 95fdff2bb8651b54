// Every SQL statement of the job store, so that the database's use can be read in one place.
#pragma once

namespace ftd::sql {

// A job that has to succeed first has not, or was removed without having.
#define FTD_IS_BLOCKED                                                                \
  "EXISTS (SELECT 1 FROM dependencies LEFT JOIN jobs AS needed ON needed.id = needs " \
  "WHERE job_id = jobs.id AND needed.state IS NOT 'SUCCEEDED')"

// In the order in which JobFromRow reads them.
#define FTD_JOB_COLUMNS                                                                         \
  "ordinal, id, name, state, spec, model_dir, dataset_path, labels, priority, owner, at_head, " \
  "not_before, "                                                                                \
  "crashes, create_time, start_time, end_time, failure_reason, message, hint, result_dir, "     \
  "sources, keep, retry_of, space_wanted, start_from, time_limit, "                             \
  "coalesce((SELECT group_concat(needs, ' ') FROM dependencies WHERE job_id = jobs.id), ''), "  \
  "state = 'QUEUED' AND " FTD_IS_BLOCKED

inline constexpr char kInsertJob[] =
    "INSERT INTO jobs (id, name, state, spec, model_dir, dataset_path, labels, priority, owner, "
    "create_time, sources, retry_of, start_from, time_limit) "
    "VALUES (?, ?, 'QUEUED', ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?) RETURNING ordinal";
inline constexpr char kInsertDependency[] =
    "INSERT OR IGNORE INTO dependencies (job_id, needs) VALUES (?, ?)";
// A job of the owner ?2 that has not ended and comes after ?1.
inline constexpr char kWhoNeeds[] =
    "SELECT coalesce(name, id) FROM dependencies JOIN jobs ON id = job_id WHERE needs = ?1 AND "
    "owner = ?2 AND state NOT IN ('SUCCEEDED', 'FAILED', 'CANCELLED') LIMIT 1";
// Nobody waits for one that has succeeded.
inline constexpr char kForgetNeeded[] = "DELETE FROM dependencies WHERE needs = ?";
// Jobs that wait for one that did not succeed, each with one of those and its state, '' if it was
// removed. The joins are in this order, since few jobs wait for others.
inline constexpr char kHopeless[] =
    "SELECT job_id, coalesce(needed.name, needs), coalesce(needed.state, '') FROM dependencies "
    "CROSS JOIN jobs AS waiting ON waiting.id = job_id LEFT JOIN jobs AS needed ON needed.id = "
    "needs "
    "WHERE waiting.state = 'QUEUED' AND coalesce(needed.state, '') IN ('FAILED', 'CANCELLED', '') "
    "GROUP BY job_id";
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
// ?4: the owner, or NULL for all. ?5: labels, as a JSON object.
#define FTD_HAS_LABELS                                                                        \
  "state = ?3 AND ordinal < ?1 AND (?4 IS NULL OR owner = ?4) AND NOT EXISTS (SELECT 1 FROM " \
  "json_each(?5) AS wanted WHERE NOT EXISTS (SELECT 1 FROM json_each(jobs.labels) AS label "  \
  "WHERE label.key = wanted.key AND label.value = wanted.value))"
inline constexpr char kOrdinalsWithLabels[] =
    "SELECT ordinal FROM jobs WHERE " FTD_HAS_LABELS " ORDER BY ordinal DESC LIMIT ?2";
inline constexpr char kCountWithLabels[] = "SELECT count(*) FROM jobs WHERE ?2 AND " FTD_HAS_LABELS;
#undef FTD_HAS_LABELS
// What JobIndex knows of a job.
inline constexpr char kIndexOfJobs[] = "SELECT state, owner, at_head, priority, ordinal FROM jobs";
inline constexpr char kQueued[] =
    "SELECT " FTD_JOB_COLUMNS
    " FROM jobs WHERE state = 'QUEUED' ORDER BY at_head DESC, priority DESC, ordinal LIMIT ?";
inline constexpr char kNextQueued[] =
    "SELECT " FTD_JOB_COLUMNS " FROM jobs WHERE state = 'QUEUED' AND NOT " FTD_IS_BLOCKED
    " ORDER BY at_head DESC, priority DESC, ordinal LIMIT 1";
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
    "space_wanted = ?7, time_limit = ?8 WHERE id = ?1";
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
    "last_step = ?9, run_us = ?10 WHERE job_id = ?1 AND number = ?2 AND state = 'ACTIVE'";
inline constexpr char kAttempts[] =
    "SELECT number, state, reason, start_time, end_time, exit_code, signal, first_step, last_step, "
    "resumed_from, "
    "pid, pid_start, boot_id, run_us FROM attempts WHERE job_id = ? ORDER BY number";

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
#undef FTD_IS_BLOCKED

}  // namespace ftd::sql

-- Version 1 of ftd's database. Later versions are reached by the migrations in migrations.cc, never by editing this.
-- Times are microseconds since 1970 UTC. States and reasons are the names of the API, for whoever opens a shell here.

CREATE TABLE jobs (
  ordinal         INTEGER PRIMARY KEY AUTOINCREMENT, -- order of submission
  id              TEXT NOT NULL UNIQUE,              -- ft- and 26 characters
  name            TEXT UNIQUE,                       -- NULL when the user gave none
  state           TEXT NOT NULL,                     -- ftd.v1.Job.State
  spec            TEXT NOT NULL,                     -- the resolved JobSpec, proto3 JSON
  model_dir       TEXT NOT NULL,                     -- absolute path that the model's name stood for at submit
  dataset_path    TEXT NOT NULL,                     -- absolute path of the rows
  labels          TEXT NOT NULL,                     -- JSON object of strings
  priority        INTEGER NOT NULL,                  -- higher runs earlier
  owner           TEXT NOT NULL,                     -- user behind the unix socket, or empty
  at_head         INTEGER NOT NULL DEFAULT 0,        -- 1: interrupted while it ran; goes before every other job
  not_before      INTEGER NOT NULL DEFAULT 0,        -- no attempt before this time (back-off)
  crashes         INTEGER NOT NULL DEFAULT 0,        -- crashed attempts in a row that made no progress
  create_time     INTEGER NOT NULL,
  start_time      INTEGER NOT NULL DEFAULT 0,        -- of the first attempt; 0: none yet
  end_time        INTEGER NOT NULL DEFAULT 0,        -- 0 unless the state is final
  failure_reason  TEXT NOT NULL DEFAULT '',          -- ftd.v1.FailureReason; empty unless FAILED
  message         TEXT NOT NULL DEFAULT '',          -- what happened
  hint            TEXT NOT NULL DEFAULT '',          -- what to do about it
  result_dir      TEXT NOT NULL DEFAULT ''           -- the published result; empty before SUCCEEDED
);

-- The queue in the order in which it is served.
CREATE INDEX jobs_by_state ON jobs (state, at_head DESC, priority DESC, ordinal);

CREATE TABLE attempts (
  job_id        TEXT NOT NULL REFERENCES jobs (id),
  number        INTEGER NOT NULL,            -- 1-based; the fencing token
  state         TEXT NOT NULL,               -- ftd.v1.Attempt.State
  reason        TEXT NOT NULL DEFAULT '',    -- one line, why it ended
  start_time    INTEGER NOT NULL,
  end_time      INTEGER NOT NULL DEFAULT 0,  -- 0 while ACTIVE
  exit_code     INTEGER,                     -- NULL when unknown
  signal        INTEGER,                     -- NULL when unknown or none
  first_step    INTEGER NOT NULL DEFAULT 0,  -- steps that it recorded; filled in when it ends
  last_step     INTEGER NOT NULL DEFAULT 0,
  resumed_from  TEXT NOT NULL DEFAULT '',    -- checkpoint directory, or empty
  pid           INTEGER NOT NULL DEFAULT 0,  -- 0 until the worker is started
  pid_start     INTEGER NOT NULL DEFAULT 0,  -- field 22 of /proc/PID/stat: tells a recycled pid from ours
  boot_id       TEXT NOT NULL DEFAULT '',    -- /proc/sys/kernel/random/boot_id at its start
  PRIMARY KEY (job_id, number)
) WITHOUT ROWID;

-- Every change of a job's state, in order. Steps are not here: they stay in the attempts' step logs.
CREATE TABLE events (
  job_id          TEXT NOT NULL REFERENCES jobs (id),
  sequence        INTEGER NOT NULL,          -- 1-based within the job
  from_state      TEXT NOT NULL,             -- empty for the first event
  to_state        TEXT NOT NULL,
  time            INTEGER NOT NULL,
  message         TEXT NOT NULL,
  failure_reason  TEXT NOT NULL,
  hint            TEXT NOT NULL,
  attempt         INTEGER NOT NULL,          -- attempt that it belongs to; 0: none
  result_dir      TEXT NOT NULL,             -- set at SUCCEEDED
  PRIMARY KEY (job_id, sequence)
) WITHOUT ROWID;

-- Submits that carried a request_id (AIP-155).
CREATE TABLE requests (
  request_id   TEXT PRIMARY KEY,
  job_id       TEXT NOT NULL REFERENCES jobs (id),
  body_sha256  TEXT NOT NULL,               -- of the request without its id: the same id must bring the same body
  create_time  INTEGER NOT NULL
) WITHOUT ROWID;

-- Version 7: what retention has removed, a queue that is drained, and where the files of the jobs are.
CREATE TABLE removals (
  job_id  TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  kind    TEXT NOT NULL,                -- ftd.v1.Removal.Kind
  bytes   INTEGER NOT NULL,             -- of all times together
  time    INTEGER NOT NULL,             -- of the last one
  owner   TEXT NOT NULL,                -- who asked for the last one; empty: ftd by itself
  PRIMARY KEY (job_id, kind)
) WITHOUT ROWID;

-- No row: the queue runs.
CREATE TABLE drain (
  only_row  INTEGER PRIMARY KEY CHECK (only_row = 1),
  message   TEXT NOT NULL,
  owner     TEXT NOT NULL,              -- who drained it
  time      INTEGER NOT NULL
);

-- The state directory that the paths in this database lie in.
CREATE TABLE place (
  only_row   INTEGER PRIMARY KEY CHECK (only_row = 1),
  state_dir  TEXT NOT NULL
);

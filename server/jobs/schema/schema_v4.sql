-- Version 4: jobs that have ended and whose end has not been reported yet (notify_command, notify_url).
CREATE TABLE notifications (
  job_id      TEXT NOT NULL REFERENCES jobs (id),
  channel     TEXT NOT NULL,               -- the setting that names who is notified
  tries       INTEGER NOT NULL DEFAULT 0,  -- that have failed
  not_before  INTEGER NOT NULL DEFAULT 0,  -- no try before this time (back-off)
  PRIMARY KEY (job_id, channel)
) WITHOUT ROWID;

-- Version 8: jobs that come after others, begin with the weights of others, and may take only so long.
CREATE TABLE dependencies (
  job_id  TEXT NOT NULL REFERENCES jobs (id) ON DELETE CASCADE,
  needs   TEXT NOT NULL,               -- id of a job that has to succeed first; it may be deleted once job_id has ended
  PRIMARY KEY (job_id, needs)
) WITHOUT ROWID;
CREATE INDEX dependencies_by_needs ON dependencies (needs);
ALTER TABLE jobs ADD COLUMN start_from TEXT NOT NULL DEFAULT ''; -- ID or ID@STEP: whose weights it begins with; empty: the model's
ALTER TABLE jobs ADD COLUMN time_limit INTEGER NOT NULL DEFAULT 0; -- seconds for all attempts together; 0: none
ALTER TABLE attempts ADD COLUMN run_us INTEGER NOT NULL DEFAULT 0; -- how long its worker ran, by a clock that no one sets

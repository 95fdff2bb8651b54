-- Version 3: jobs that are ended early with a result, and jobs that repeat others.
ALTER TABLE jobs ADD COLUMN keep INTEGER NOT NULL DEFAULT 0; -- 1: takes no more steps; the next attempt only makes the result
ALTER TABLE jobs ADD COLUMN retry_of TEXT NOT NULL DEFAULT ''; -- id of the job that RetryJob copied, or empty

-- Version 3: jobs that are ended early with a result.
ALTER TABLE jobs ADD COLUMN keep INTEGER NOT NULL DEFAULT 0; -- 1: takes no more steps; the next attempt only makes the result

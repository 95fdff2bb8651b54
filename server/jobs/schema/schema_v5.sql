-- Version 5: jobs that wait for space on the disk.
ALTER TABLE jobs ADD COLUMN space_wanted INTEGER NOT NULL DEFAULT 0; -- bytes to be free before its next attempt; 0: it does not wait for space

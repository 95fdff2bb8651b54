-- Version 2: jobs whose model or data come from the hub.
ALTER TABLE jobs ADD COLUMN sources TEXT NOT NULL DEFAULT ''; -- lib/hub/sources.h as JSON; empty: nothing from the hub

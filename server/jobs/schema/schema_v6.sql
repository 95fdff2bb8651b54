-- Version 6: answers that take the same time however many jobs there are.
CREATE INDEX jobs_by_state_and_age ON jobs (state, ordinal);
CREATE INDEX jobs_by_owner ON jobs (owner, state, ordinal);
CREATE INDEX requests_by_job ON requests (job_id);

// The daemon's structs as messages of the API: the one place where both views meet.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "ftd/v1/fine_tuning.pb.h"
#include "ftd/v1/job.pb.h"
#include "lib/runlog/timestamp.h"
#include "server/jobs/job.h"
#include "server/jobs/upkeep.h"

namespace ftd {

v1::Job::State ToWire(JobState state);
// Requires: `state` is a state, not STATE_UNSPECIFIED.
JobState FromWire(v1::Job::State state);

// The spec that the job was stored with; of one that cannot be read, what could be.
std::shared_ptr<const v1::JobSpec> SpecOf(const Job& job);

// All but what is in the attempts' directories (attempts, progress, checkpoints, warnings,
// last_step) and what depends on the queue (position, pending_reason): job_view.h adds these.
v1::Job ToWire(const Job& job);
v1::Attempt ToWire(const Attempt& attempt);
v1::WatchJobResponse::StateChange ToWire(const StateEvent& event);
v1::Removal::Kind ToWire(RemovalKind kind);
v1::Removal ToWire(const Removal& removal);
v1::Drain ToWire(const QueueDrain& drain);

// Unknown names become INTERNAL, as clients are told to treat them; an empty one is unspecified.
v1::FailureReason FailureReasonFromName(const std::string& name);

}  // namespace ftd

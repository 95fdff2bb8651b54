// The API's enums and jobs in words for people.
#pragma once

#include <string>

#include "ftd/v1/job.pb.h"

namespace ftd {

std::string StateName(ftd::v1::Job::State state);        // "RUNNING"
std::string PhaseName(ftd::v1::Progress::Phase phase);   // "TRAIN"; "" for unspecified
std::string ModeName(ftd::v1::JobSpec::Mode mode);       // "lora"
std::string FailureName(ftd::v1::FailureReason reason);  // "DATASET_INVALID"; "" for unspecified
std::string PendingText(
    ftd::v1::Job::PendingReason why);  // "another job has the device"; "" for unspecified

// The last part of a model's path or name.
std::string ModelName(const ftd::v1::JobSpec& spec);

// "ft-… (name)", or the id alone.
std::string JobTitle(const ftd::v1::Job& job);

// The name if the job has one, else the id: what to type next.
std::string JobHandle(const ftd::v1::Job& job);

// Planned optimizer steps, 0 when not known yet.
int64_t StepsPlanned(const ftd::v1::Job& job);

// "loss 1.2345, token accuracy 61.2%, 100 rows".
std::string EvaluationText(const ftd::v1::Evaluation& evaluation);

// "drained by ada since 2026-11-22 17:40:00: new disk at noon".
std::string DrainText(const std::string& owner, const google::protobuf::Timestamp& time,
                      const std::string& message);

// "result, 1.2 GB, pruned 2026-11-22 17:40:00".
std::string RemovalText(const ftd::v1::Removal& removal);

// Retention has removed the job's result.
bool IsResultPruned(const ftd::v1::Job& job);

// Returns a command to type next about a job in this state; "" when nothing suggests itself.
std::string NextStep(const ftd::v1::Job& job);

}  // namespace ftd

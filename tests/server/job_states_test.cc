// Every pair of states, against the moves that docs/architecture.md lists, written out a second
// time as text.
#include "server/jobs/job_states.h"

#include <gtest/gtest.h>

#include <set>
#include <string>

namespace ftd {
namespace {

const std::set<std::string> kAllowed = {
    "QUEUED>HELD",        "HELD>QUEUED",          "QUEUED>PREPARING",     "PREPARING>RUNNING",
    "RUNNING>SUCCEEDED",  "PREPARING>PAUSING",    "RUNNING>PAUSING",      "PAUSING>PAUSED",
    "PAUSED>QUEUED",      "PREPARING>QUEUED",     "RUNNING>QUEUED",       "QUEUED>CANCELLED",
    "HELD>CANCELLED",     "PAUSED>CANCELLED",     "PREPARING>CANCELLING", "RUNNING>CANCELLING",
    "PAUSING>CANCELLING", "CANCELLING>CANCELLED", "CANCELLING>SUCCEEDED", "PREPARING>FAILED",
    "RUNNING>FAILED",     "PAUSING>FAILED",       "CANCELLING>FAILED",    "PAUSING>SUCCEEDED",
    "CANCELLING>QUEUED",  "QUEUED>FAILED"};

TEST(JobStates, EveryPairIsJudged) {
  for (const JobState from : kAllJobStates) {
    for (const JobState to : kAllJobStates) {
      const std::string pair = std::string(JobStateName(from)) + ">" + JobStateName(to);
      EXPECT_EQ(IsLegalMove(from, to), kAllowed.count(pair) == 1) << pair;
    }
  }
}

TEST(JobStates, FinalStatesAreThoseWithoutAWayOut) {
  for (const JobState from : kAllJobStates) {
    bool way_out = false;
    for (const JobState to : kAllJobStates) way_out |= IsLegalMove(from, to);
    EXPECT_EQ(IsFinal(from), !way_out) << JobStateName(from);
    EXPECT_FALSE(IsFinal(from) && IsActive(from)) << JobStateName(from);
  }
}

TEST(JobStates, NamesComeBack) {
  for (const JobState state : kAllJobStates) EXPECT_EQ(ParseJobState(JobStateName(state)), state);
  for (const char* name : {"", "queued", "QUEUED ", "STATE_UNSPECIFIED"})
    EXPECT_FALSE(ParseJobState(name)) << name;
}

}  // namespace
}  // namespace ftd

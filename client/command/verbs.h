// The verbs of ftctl: each is one function in a file of its own name.
#pragma once

#include <string>
#include <vector>

#include "absl/types/span.h"
#include "client/base/server_address.h"
#include "lib/cli/command_doc.h"

namespace ftd {

// The parts of the command line.
struct Invocation {
  ServerAddress address;          // of the flags before the verb
  std::vector<std::string> args;  // behind the verb
  // Not null: the verb does nothing but put down here what it takes (Flags::Parse does it).
  CommandDoc* describe = nullptr;
};

// Each parses its own flags, talks to ftd, and returns the exit code (exit_codes.h). stdout carries
// data only.
int BackupVerb(const Invocation& call);
int CancelVerb(const Invocation& call);
int ChatVerb(const Invocation& call);
int CheckpointsVerb(const Invocation& call);
int CompletionVerb(const Invocation& call);
int DoctorVerb(const Invocation& call);
int DrainVerb(const Invocation& call);
int GetVerb(const Invocation& call);
int ExportVerb(const Invocation& call);
int GenerateVerb(const Invocation& call);
int HoldVerb(const Invocation& call);
int InfoVerb(const Invocation& call);
int LoginVerb(const Invocation& call);
int LogsVerb(const Invocation& call);
int LsVerb(const Invocation& call);
int MetricsVerb(const Invocation& call);
int DataVerb(const Invocation& call);
int EstimateVerb(const Invocation& call);
int ModelsVerb(const Invocation& call);
int PauseVerb(const Invocation& call);
int PruneVerb(const Invocation& call);
int PushVerb(const Invocation& call);
int ReleaseVerb(const Invocation& call);
int ResumeVerb(const Invocation& call);
int RetryVerb(const Invocation& call);
int RmVerb(const Invocation& call);
int RunVerb(const Invocation& call);
int ShowVerb(const Invocation& call);
int SubmitVerb(const Invocation& call);
int SweepVerb(const Invocation& call);
int TokenVerb(const Invocation& call);
int TopVerb(const Invocation& call);
int UndrainVerb(const Invocation& call);
int UpdateVerb(const Invocation& call);
int WaitVerb(const Invocation& call);
int WatchVerb(const Invocation& call);
int WhoamiVerb(const Invocation& call);

struct Verb {
  const char* name;
  const char* help;
  int (*run)(const Invocation&);
};

// All of them, in the order of `ftctl help`.
absl::Span<const Verb> Verbs();

}  // namespace ftd

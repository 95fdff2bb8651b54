// Exit codes of ftctl: 0, 1, usage, sysexits, and the outcomes of jobs. docs/cli.md has the table
// for users.
#pragma once

#include "absl/status/status.h"
#include "ftd/v1/job.pb.h"
#include "lib/base/reason.h"

namespace ftd {

inline constexpr int kExitOk = 0;
inline constexpr int kExitRefused = 1;        // wrong state, name in use, gated model …
inline constexpr int kExitUsage = 2;          // the command line itself
inline constexpr int kExitBadData = 65;       // bad field, dataset, model file
inline constexpr int kExitNoInput = 66;       // model or file not found
inline constexpr int kExitUnavailable = 69;   // no ftd, or not in this build
inline constexpr int kExitInternal = 70;      // our bug
inline constexpr int kExitCannotCreate = 73;  // output not writable
inline constexpr int kExitIoError = 74;       // damaged bytes
inline constexpr int kExitTryLater = 75;      // queue full, quota, disk
inline constexpr int kExitNotPermitted = 77;
inline constexpr int kExitJobFailed = 100;
inline constexpr int kExitJobNotFinished = 101;
inline constexpr int kExitJobNotFound = 102;
inline constexpr int kExitJobCancelled = 103;
inline constexpr int kExitInterrupted = 130;  // Ctrl-C

// The meaning of each, for people.
struct ExitCodeHelp {
  int code;
  const char* when;
};
inline constexpr ExitCodeHelp kExitCodes[] = {
    {kExitOk, "done; for watch, wait, submit --watch and run: the job SUCCEEDED"},
    {kExitRefused,
     "refused: wrong state, name in use, request id reused, gated model, does not fit in memory; "
     "doctor: something failed"},
    {kExitUsage, "the command line itself"},
    {kExitBadData, "bad field, dataset or model file; unsupported architecture"},
    {kExitNoInput, "model, dataset or file not found"},
    {kExitUnavailable, "no ftd answers, the hub does not, or this build does not offer it"},
    {kExitInternal, "a defect of ftd"},
    {kExitCannotCreate, "an output directory cannot be written, or exists and is not empty"},
    {kExitIoError, "bytes arrived damaged; standard output could not be written"},
    {kExitTryLater, "queue full, quota, disk: try later or ask for less"},
    {kExitNotPermitted, "not allowed: no token or certificate, or a wrong one"},
    {kExitJobFailed, "the job FAILED; its message and what to do are on stderr"},
    {kExitJobNotFinished, "wait --timeout: not finished"},
    {kExitJobNotFound, "no such job"},
    {kExitJobCancelled, "the job was CANCELLED"},
    {kExitInterrupted,
     "Ctrl-C, which never cancels a job (but run's, whose ftd ends with it); 128 + n for other "
     "signals"},
};

// Prints "ftctl: MESSAGE" on stderr and returns ExitCodeOf (lib/base/reason.h). Requires: `status`
// is not OK.
int Fail(const absl::Status& status);

// Returns whether `state` is one that never changes again.
bool IsFinal(ftd::v1::Job::State state);

// 0, 100 or 103 for a final state, else 101.
int OutcomeExitCode(ftd::v1::Job::State state);

}  // namespace ftd

#include "client/command/verbs.h"

namespace ftd {
namespace {

constexpr Verb kVerbs[] = {
    {"run", "Fine-tune here and now, with a private ftd: no set-up", RunVerb},
    {"submit", "Queue a job", SubmitVerb},
    {"ls", "List jobs", LsVerb},
    {"show", "Show a job", ShowVerb},
    {"watch", "Follow a job live", WatchVerb},
    {"top", "Show the queue and the device live", TopVerb},
    {"wait", "Wait until a job has ended", WaitVerb},
    {"logs", "Print what a job's worker wrote", LogsVerb},
    {"metrics", "Print a job's recorded steps", MetricsVerb},
    {"sweep", "Compare the jobs of a sweep", SweepVerb},
    {"checkpoints", "List a job's checkpoints", CheckpointsVerb},
    {"get", "Take a job's result home", GetVerb},
    {"export", "Take it home merged, or as a GGUF file for llama.cpp and Ollama", ExportVerb},
    {"generate", "Continue a text with a job's result or a model", GenerateVerb},
    {"chat", "Talk with a job's result or a model", ChatVerb},
    {"push", "Put it into a repository of the Hugging Face hub", PushVerb},
    {"cancel", "End a job", CancelVerb},
    {"pause", "Stop a running job with a checkpoint, and free the device", PauseVerb},
    {"resume", "Resume a paused job", ResumeVerb},
    {"hold", "Keep a queued job back", HoldVerb},
    {"release", "Let a held job run", ReleaseVerb},
    {"update", "Change a job's priority or labels", UpdateVerb},
    {"retry", "Queue a job that has ended once more", RetryVerb},
    {"rm", "Forget a job that has ended", RmVerb},
    {"prune", "Remove what no job needs any more", PruneVerb},
    {"estimate", "Tell what a job would need, and how long it would take", EstimateVerb},
    {"data", "Look at the rows of a job before there is one", DataVerb},
    {"models", "List, fetch, verify and remove the hub's models", ModelsVerb},
    {"login", "Store a Hugging Face token", LoginVerb},
    {"whoami", "Show whose token is stored", WhoamiVerb},
    {"token", "Make, list and revoke the tokens that let callers in over TCP", TokenVerb},
    {"drain", "Start no more jobs", DrainVerb},
    {"undrain", "Let a drained queue run again", UndrainVerb},
    {"backup", "Copy ftd's database while it runs", BackupVerb},
    {"info", "Show the server", InfoVerb},
    {"doctor", "Find what keeps ftd from working, and how to fix it", DoctorVerb},
    {"completion", "Print a script that lets a shell complete ftctl", CompletionVerb},
};

}  // namespace

absl::Span<const Verb> Verbs() { return kVerbs; }

}  // namespace ftd

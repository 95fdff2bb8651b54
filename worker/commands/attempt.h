// One attempt of a job, in the directory that the daemon made for it (proto/ftd/v1/worker.proto).
#pragma once

#include <filesystem>

namespace ftd {

// Runs it to its end record. Returns the process's exit status: 0 when the attempt succeeded or was
// stopped, 1 when it failed (events.log says why), 2 when the directory is not usable. `lock_fd` is
// the inherited descriptor of worker.lock, or -1 to open and lock it here; `token_fd` one from
// which the hub token is read, or -1: none.
int RunAttempt(const std::filesystem::path& attempt_dir, int lock_fd, int token_fd);

}  // namespace ftd

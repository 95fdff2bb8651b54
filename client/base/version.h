// The source that this ftctl was built from.
#pragma once

namespace ftd {

// `ftctl doctor` compares both with ftd's.
extern const char kFtctlVersion[];   // the VERSION file
extern const char kFtctlRevision[];  // the source revision, or "unknown" outside a git checkout

}  // namespace ftd

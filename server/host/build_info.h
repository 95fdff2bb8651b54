// The source that this binary was built from.
#pragma once

namespace ftd {

// The VERSION file.
extern const char kVersion[];
// The source revision, or "unknown" outside a git checkout.
extern const char kRevision[];

}  // namespace ftd

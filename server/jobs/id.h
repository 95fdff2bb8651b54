// Job ids.
#pragma once

#include <string>

namespace ftd {

// "ft-" and 26 characters of Crockford's base 32 in lower case: 48 bits of Unix milliseconds and 80
// random ones (a ULID). Ids sort by the time of their creation; those of one process also within a
// millisecond. Thread-safe.
std::string NewJobId();

}  // namespace ftd

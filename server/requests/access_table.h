// Who may do what: one table of the API's methods, and one function that decides. docs/security.md
// shows the table, and a test holds it to the API.
#pragma once

#include <string_view>

#include "absl/types/span.h"
#include "server/host/role.h"
#include "server/requests/caller.h"

namespace ftd {

// What a method does to the job that its request names.
enum class Touches { kNoJob, kReads, kChanges };

struct AccessRow {
  const char* method;  // of ftd.v1.FineTuning
  Role least;          // the role that it takes
  Touches touches = Touches::kNoJob;
  bool local = false;          // on a unix socket alone
  bool may_name_none = false;  // without a job it touches none
};

// All methods, in the order of the API.
absl::Span<const AccessRow> AccessTable();
// Requires: the table has it.
const AccessRow& AccessRowOf(std::string_view method);

enum class Verdict {
  kAllowed,
  kNotLocal,    // this call is for the unix socket
  kRoleTooLow,  // whoever owns the job
  kNotOwner,    // the job is another's
  kHidden,      // and must not even be known to exist
};

// Pure. `owner`: of the job that the request names; ignored for a method that touches none. A job
// without an owner, as from an older ftd, is the admins'.
Verdict Decide(const Caller& caller, const AccessRow& row, std::string_view owner,
               Visibility visibility);

}  // namespace ftd

// Files of this machine into a repository of the hub: one commit with all of them, or none.
#pragma once

#include <filesystem>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "lib/hub/transfer.h"
#include "lib/hub/transport/repo_writes.h"
#include "lib/hub/transport/settings.h"

namespace ftd::hub {

struct PushOrder {
  std::string repo;                 // OWNER/NAME of a model
  std::string branch = "main";      // created if it is not there
  bool is_private = false;          // a repository that has to be created
  std::string summary;              // the commit's title
  std::vector<OutgoingFile> files;  // their digests are filled in here
};

struct Pushed {
  std::string url;         // where people see it
  std::string commit;      // the branch's
  bool unchanged = false;  // the branch had the files already
};

// Makes the branch have the files, and leaves its other files alone. Those that it has in the same
// form are not sent, and if it has all of them, no commit is made. So a push that broke off at any
// moment is repeated, and what its commit came to shows: there is one in the end. `token` must have
// the right to write. Progress counts each byte twice, when it is read for its digest and when the
// hub has it. Errors: those of repo_writes.h; FAILED_PRECONDITION HUB_OFFLINE.
absl::StatusOr<Pushed> PushFiles(const Settings& settings, const std::string& token,
                                 PushOrder order, const TransferOptions& options);

// Opens a file that goes up as `path`; its digests are still to come.
absl::StatusOr<OutgoingFile> OpenOutgoing(const std::filesystem::path& file,
                                          const std::string& path);
// The same for a text that is on no disk.
absl::StatusOr<OutgoingFile> MakeOutgoing(const std::string& text, const std::string& path);

}  // namespace ftd::hub

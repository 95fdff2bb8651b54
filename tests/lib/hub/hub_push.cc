// The hub client by itself, the other way round: pushes every file of a directory, as ftd does with
// a result.
//
// usage: hub_push DIR OWNER/NAME [BRANCH [PATIENCE_S [private]]]
//
// Prints the address, the commit, and 1 if the branch had the files already. On failure: the reason
// and the message, tab-separated, on stderr; exit status 1.
#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <iostream>
#include <string>
#include <vector>

#include "lib/base/error.h"
#include "lib/hub/push.h"

namespace ftd::hub {
namespace {

namespace fs = std::filesystem;

absl::StatusOr<Pushed> PushDirectory(const fs::path& dir, PushOrder order,
                                     absl::Duration patience) {
  std::vector<fs::path> paths;
  for (const auto& entry : fs::recursive_directory_iterator(dir)) {
    if (entry.is_regular_file()) paths.push_back(entry.path());
  }
  std::sort(paths.begin(), paths.end());
  for (const fs::path& path : paths) {
    FTD_ASSIGN_OR_RETURN(OutgoingFile file,
                         OpenOutgoing(path, path.lexically_relative(dir).generic_string()));
    order.files.push_back(std::move(file));
  }
  const Settings settings = SettingsFromEnvironment();
  const auto progress = [](const TransferProgress& at) {
    if (at.done_bytes > at.total_bytes) std::cerr << "more than all is done" << std::endl;
  };
  return PushFiles(settings, FindToken(settings), std::move(order),
                   {.connections = 4, .patience = patience, .progress = progress});
}

}  // namespace
}  // namespace ftd::hub

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  ftd::hub::PushOrder order{.repo = argv[2], .is_private = argc > 5, .summary = "Mine"};
  if (argc > 3) order.branch = argv[3];
  const auto pushed = ftd::hub::PushDirectory(argv[1], std::move(order),
                                              absl::Seconds(argc > 4 ? std::atof(argv[4]) : 60));
  if (pushed.ok()) {
    std::cout << pushed->url << "\t" << pushed->commit << "\t" << pushed->unchanged << std::endl;
    return 0;
  }
  std::cerr << ftd::ReasonNameOf(pushed.status()) << "\t" << pushed.status().message() << std::endl;
  return 1;
}

#include "worker/run/sources.h"

#include <unistd.h>

#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/hub/sources.h"

namespace ftd {

// The descriptor is closed at the end, so that nothing the worker starts can inherit the token.
std::string TakeToken(int fd) {
  const Fd file(fd);
  std::string token;
  char buffer[4096];
  for (ssize_t got = 0; fd >= 0 && (got = ::read(fd, buffer, sizeof(buffer))) > 0;)
    token.append(buffer, static_cast<size_t>(got));
  return token;
}

// Fetches the files that the cache lacks, which it need not do for a model and data on this
// machine.
absl::Status BringSources(const std::string& sources_json, const std::string& token,
                          const StopFlags& flags, RunObserver& observer) {
  if (sources_json.empty()) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(const hub::Sources sources, hub::SourcesFromJson(sources_json));
  // The daemon may have fetched everything while another job ran.
  if (hub::HasSources(sources)) return absl::OkStatus();
  hub::TransferOptions options;
  options.cancelled = [&flags] { return flags.stop.load(); };
  options.progress = [&observer](const hub::TransferProgress& progress) {
    observer.Progress(v1::Progress::DOWNLOAD, {progress.done_bytes, progress.total_bytes, "bytes",
                                               progress.bytes_per_second});
  };
  const absl::Status fetched = hub::FetchSources(sources, token, options);
  // A fetch that was cut short by a stop is not a failure.
  return flags.stop ? absl::OkStatus() : fetched;
}

}  // namespace ftd

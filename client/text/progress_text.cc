#include "client/text/progress_text.h"

#include "absl/strings/str_cat.h"
#include "client/text/text.h"
#include "lib/base/short_bytes.h"

namespace ftd {

// "1.2 GB of 4.5 GB, 80.0 MB/s, ETA 41s"; the estimate is from the sender's own rate.
std::string ProgressText(const ftd::v1::Progress& progress) {
  const bool bytes = progress.unit() == "bytes";
  if (!bytes) return absl::StrCat(progress.done(), " of ", progress.total(), " ", progress.unit());
  std::string text =
      absl::StrCat(ShortBytes(progress.done()), " of ", ShortBytes(progress.total()));
  if (progress.rate() > 0 && progress.done() < progress.total()) {
    const auto left = static_cast<double>(progress.total() - progress.done());
    absl::StrAppend(&text, ", ", ShortBytes(static_cast<int64_t>(progress.rate())), "/s, ETA ",
                    ShortDuration(left / progress.rate()));
  }
  return text;
}

}  // namespace ftd

#include "worker/commands/export_command.h"

#include <unistd.h>

#include <csignal>
#include <string_view>
#include <system_error>
#include <thread>

#include "absl/strings/str_format.h"
#include "absl/strings/str_replace.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "worker/run/export.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr int kStopped = 130;

// Waits for a signal that ends the process, and leaves nothing behind then. Must exist before any
// other thread does, so that the signals are blocked in all of them.
class StopCleanly {
 public:
  explicit StopCleanly(fs::path unfinished) {
    sigset_t signals;
    sigemptyset(&signals);
    for (const int signal : {SIGINT, SIGTERM, SIGUSR1}) sigaddset(&signals, signal);
    pthread_sigmask(SIG_BLOCK, &signals, nullptr);
    thread_ = std::thread([signals, unfinished = std::move(unfinished)] {
      int signal = 0;
      sigwait(&signals, &signal);
      if (signal == SIGUSR1) return;  // the export has ended
      std::error_code error;
      // The export continues until the process ends, and may put a file into a folder that is
      // empty.
      for (int i = 0; i < 100 && fs::exists(unfinished, error); ++i)
        fs::remove_all(unfinished, error);
      ::_exit(kStopped);
    });
  }
  ~StopCleanly() {
    pthread_kill(thread_.native_handle(), SIGUSR1);
    thread_.join();
  }
  StopCleanly(const StopCleanly&) = delete;
  StopCleanly& operator=(const StopCleanly&) = delete;

 private:
  std::thread thread_;
};

}  // namespace

std::string ExportTypes() { return absl::StrReplaceAll(gguf::FileTypeNames(), {{", ", "|"}}); }

absl::Status RunExport(const ExportOptions& options, std::ostream& log) {
  ExportOrder order{.model_dir = options.model_dir,
                    .adapter_dir = options.adapter_dir,
                    .model_reader = std::nullopt,
                    .directory = options.directory,
                    .gguf = options.gguf,
                    .adapter_only = options.adapter_only};
  if (!order.gguf.empty()) {
    const std::string_view otherwise =
        options.adapter_only ? gguf::kAdapterDefault : gguf::kModelDefault;
    FTD_ASSIGN_OR_RETURN(order.type,
                         gguf::FindFileType(options.type.empty() ? otherwise : options.type));
  }
  const StopCleanly stop(UnfinishedExport(order));
  FTD_ASSIGN_OR_RETURN(const ExportReport report, Export(order, [](int64_t, int64_t) {}));
  for (const std::string& note : report.notes) log << "note: " << note << "\n";
  if (report.check.has_value()) {
    log << absl::StrFormat(
        "compared with base + adapter: logits differ by %.2g (at most %.2g), no map by more than "
        "%.0f%% of what rounding may\n",
        report.check->logits_error, report.check->logits_bound, 100 * report.check->map_share);
  }
  log << absl::StrFormat("%s: %.2f MB\n",
                         (order.gguf.empty() ? order.directory : order.gguf).string(),
                         static_cast<double>(report.bytes) / 1e6);
  return absl::OkStatus();
}

}  // namespace ftd

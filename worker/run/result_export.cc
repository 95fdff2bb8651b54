#include "worker/run/result_export.h"

#include <optional>
#include <string>
#include <system_error>

#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/gguf/file_type.h"
#include "worker/run/export.h"
#include "worker/run/failure.h"
#include "worker/run/side_work.h"

namespace ftd {
namespace {

constexpr char kExport[] = "export";

absl::Status Run(const v1::AttemptRequest& request, const std::filesystem::path& dir,
                 RunObserver& observer) {
  const v1::AttemptRequest::ResultExport& asked = request.result_export();
  FTD_RETURN_IF_ERROR(BecomeSideWorker(asked.daemon_pid()));
  ExportOrder order{.model_dir = WithoutLinks(request.model_dir()),
                    .adapter_dir = {},
                    .model_reader = std::nullopt,
                    .adapter_only = asked.adapter_only()};
  if (!asked.adapter_dir().empty()) order.adapter_dir = WithoutLinks(asked.adapter_dir());
  if (request.has_model_reader_uid()) order.model_reader = request.model_reader_uid();
  const auto progress = [&](int64_t done, int64_t total) {
    observer.Progress(v1::Progress::EXPORT, {done, total, "bytes", 0});
  };
  // A GGUF file has a Modelfile beside it, so both get a directory, which appears with them.
  FTD_ASSIGN_OR_RETURN(const ScratchDir scratch,
                       ScratchDir::Create(dir / (std::string(kUnfinishedMark) + kExport)));
  if (asked.gguf_type().empty()) {
    order.directory = scratch.path() / kExport;
  } else {
    FTD_ASSIGN_OR_RETURN(order.type, gguf::FindFileType(asked.gguf_type()));
    std::error_code error;
    std::filesystem::create_directory(scratch.path() / kExport, error);
    order.gguf = scratch.path() / kExport / (order.adapter_only ? "adapter.gguf" : "model.gguf");
  }
  FTD_ASSIGN_OR_RETURN(const ExportReport report, Export(order, progress));
  for (const std::string& note : report.notes) observer.Warning(note);
  return RenameDurably(scratch.path() / kExport, dir / kExport);
}

}  // namespace

v1::WorkerEvent::End ExportResult(const v1::AttemptRequest& request,
                                  const std::filesystem::path& dir, RunObserver& observer) {
  if (const absl::Status status = Run(request, dir, observer); !status.ok())
    return FailureOf(status, {});
  v1::WorkerEvent::End end;
  end.set_outcome(v1::WorkerEvent::End::SUCCEEDED);
  return end;
}

}  // namespace ftd

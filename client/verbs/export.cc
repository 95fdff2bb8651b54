// ftctl export: a result in the form that other programs want.
#include <algorithm>
#include <filesystem>
#include <iostream>
#include <system_error>

#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/download.h"
#include "client/rpc/task_stream.h"
#include "client/text/text.h"
#include "client/watch/terminal.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/gguf/file_type.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

fs::path ModelfileOf(fs::path gguf) { return gguf.replace_extension(".Modelfile"); }

// Judged before the work, as CheckResultDirectory is.
absl::Status CheckNewFile(const fs::path& file) {
  for (const fs::path& path : {file, ModelfileOf(file)}) {
    std::error_code error;
    if (fs::symlink_status(path, error).type() == fs::file_type::not_found) continue;
    return Error(Reason::kPathInUse,
                 absl::StrCat(path.string(), " exists already; name another file"));
  }
  return absl::OkStatus();
}

// The server knows no name for the file; the Modelfile's first line has it.
absl::Status WriteModelfile(const fs::path& from, const fs::path& gguf) {
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadFile(from));
  const size_t first = std::min(text.find('\n'), text.size());
  return WriteFileAtomically(ModelfileOf(gguf),
                             absl::StrCat("FROM ./", gguf.filename().string(), text.substr(first)));
}

// The directory of the download goes when its files have their places.
absl::Status TakeGguf(Connection& connection, const v1::DownloadResultRequest& request,
                      const fs::path& file) {
  const fs::path parent = file.has_parent_path() ? file.parent_path() : fs::path(".");
  FTD_ASSIGN_OR_RETURN(
      const ScratchDir scratch,
      ScratchDir::Create(parent / absl::StrCat(kUnfinishedMark, file.filename().string())));
  const fs::path made = scratch.path() / "export";
  FTD_RETURN_IF_ERROR(DownloadResult(connection, request, made));
  std::error_code error;
  for (const char* name : {"model.gguf", "adapter.gguf"}) {
    if (!fs::exists(made / name, error)) continue;
    if (fs::exists(made / "model.Modelfile", error))
      FTD_RETURN_IF_ERROR(WriteModelfile(made / "model.Modelfile", file));
    return RenameDurably(made / name, file);
  }
  return absl::DataLossError("the server sent no GGUF file");
}

std::vector<std::string> TypeNames() {
  std::vector<std::string> names;
  for (const gguf::FileType& type : gguf::FileTypes()) names.emplace_back(type.name);
  return names;
}

absl::Status Export(Connection& connection, const v1::ExportJobRequest& request,
                    const fs::path& target) {
  FTD_RETURN_IF_ERROR(request.gguf_type().empty() ? CheckResultDirectory(target)
                                                  : CheckNewFile(target));
  grpc::ClientContext context;
  auto reader = connection.stub().ExportJob(&context, request);
  FTD_ASSIGN_OR_RETURN(const v1::ExportJobResponse done,
                       LastOf(connection, *reader, StderrIsTerminal()));
  v1::DownloadResultRequest download;
  download.set_job(request.job());
  download.set_export_name(done.outcome().name());
  return request.gguf_type().empty() ? DownloadResult(connection, download, target)
                                     : TakeGguf(connection, download, target);
}

}  // namespace

int ExportVerb(const Invocation& call) {
  v1::ExportJobRequest request;
  std::string job, directory, gguf;
  bool adapter_only = false, quiet = false;
  Flags flags(call, "export",
              "Take a job's result home in the form that other programs want: the model with the "
              "adapter merged into it,\nwhich needs no PEFT, or a GGUF file for llama.cpp, with a "
              "Modelfile for Ollama beside it. The server makes it on its\nCPU, compares a merged "
              "model with base + adapter, and keeps it for a week.",
              "  ftctl export first ./first-merged\n  ftctl export first --gguf first.gguf --type "
              "q4_k_m\n  ftctl export first --gguf first-lora.gguf --type f16 --adapter-only\n");
  flags.Positional("JOB", "Id or name", &job);
  flags.Positional("DIR", "Where to; it must not exist, or be empty", &directory, "DIR",
                   /*required=*/false);
  flags.Text("--gguf", "Instead of DIR: a new GGUF file", &gguf, "FILE");
  flags.Choice("--type", "Type of the GGUF file's matrices [q8_0; f16 for an adapter]", TypeNames(),
               [&](const std::string& given) { request.set_gguf_type(given); });
  flags.Switch("--adapter-only", "The GGUF file is the adapter, for llama.cpp's --lora",
               &adapter_only);
  flags.Switch("-q,--quiet", "No talk", &quiet);
  if (const auto code = flags.Parse()) return *code;
  if (directory.empty() == gguf.empty())
    return Fail(Error(Reason::kUsage, "give either DIR or --gguf FILE"));
  if (gguf.empty() && (adapter_only || !request.gguf_type().empty()))
    return Fail(Error(Reason::kUsage, "--type and --adapter-only are for --gguf"));
  if (!gguf.empty() && request.gguf_type().empty())
    request.set_gguf_type(std::string(adapter_only ? gguf::kAdapterDefault : gguf::kModelDefault));
  request.set_job(job);
  request.set_adapter_only(adapter_only);
  const std::string& target = gguf.empty() ? directory : gguf;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  if (const absl::Status status = Export(**connection, request, target); !status.ok())
    return Fail(status);
  if (!quiet) std::cerr << "The result is in " << target << std::endl;
  return kExitOk;
}

}  // namespace ftd

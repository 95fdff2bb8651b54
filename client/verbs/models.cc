// ftctl models: what the hub's cache on the server holds, and what can be done to it.
#include <grpcpp/grpcpp.h>

#include <algorithm>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/sub_verbs.h"
#include "client/command/verbs.h"
#include "client/rpc/connection.h"
#include "client/rpc/pages.h"
#include "client/rpc/task_stream.h"
#include "client/text/json_output.h"
#include "client/text/table.h"
#include "client/text/text.h"
#include "client/watch/terminal.h"
#include "lib/base/short_bytes.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

using ftd::v1::FineTuning;
using ftd::v1::Model;

constexpr size_t kShortCommit = 12;

// A model that only has an alias is shown without size and revision.
void PrintTable(const ftd::v1::ListModelsResponse& list) {
  std::vector<std::vector<std::string>> rows;
  for (const Model& model : list.models()) {
    const bool cached = model.revisions_size() > 0 || model.size_bytes() > 0;
    rows.push_back({model.name(), model.type() == Model::DATASET ? "dataset" : "model",
                    model.aliases().empty() ? "-" : absl::StrJoin(model.aliases(), ","),
                    cached ? ShortBytes(model.size_bytes()) : "-",
                    model.revision().empty() ? "-" : model.revision().substr(0, kShortCommit),
                    model.used_by_jobs().empty() ? "-" : absl::StrJoin(model.used_by_jobs(), ",")});
  }
  std::cout << Table({"NAME", "TYPE", "ALIASES", "SIZE", "REVISION", "USED BY"}, rows)
            << std::flush;
}

int ListModels(const Invocation& call) {
  std::string output = "table";
  bool cached = false;
  Flags flags(
      call, "models ls",
      "List the models and datasets in the server's Hugging Face cache, and the models that "
      "have an alias.",
      "  ftctl models\n  ftctl models ls --cached\n");
  flags.Switch("--cached", "Only what is in the cache", &cached);
  flags.Choice("-o,--output", "Format [table]", {"table", "json", "yaml"}, &output);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  auto list =
      CallForAllPages(**connection, &FineTuning::Stub::ListModels, ftd::v1::ListModelsRequest());
  if (!list.ok()) return Fail(list.status());
  if (cached) {
    auto& models = *list->mutable_models();
    models.erase(std::remove_if(models.begin(), models.end(),
                                [](const Model& model) { return model.size_bytes() == 0; }),
                 models.end());
  }
  output == "table" ? PrintTable(*list) : PrintStructured(ToJson(*list)["models"], output);
  return kExitOk;
}

// Ends with the stream: when ftctl goes, ftd stops fetching and keeps the pieces.
int Pull(const Invocation& call) {
  ftd::v1::PullModelRequest request;
  bool quiet = false;
  std::string model;
  Flags flags(call, "models pull",
              "Fetch a model into the server's cache, so that a job need not. Ctrl-C ends it; what "
              "was fetched is kept.",
              "  ftctl models pull llama3.1-8b\n  ftctl models pull HuggingFaceTB/SmolLM2-135M "
              "--revision main\n");
  flags.Positional("MODEL", "Alias or OWNER/NAME", &model);
  flags.Text("--revision", "Branch, tag or commit [main]",
             [&](const std::string& text) { request.set_revision(text); });
  flags.Switch("-q,--quiet", "The directory alone", &quiet);
  if (const auto code = flags.Parse()) return *code;
  request.set_model(model);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  grpc::ClientContext context;
  auto reader = (*connection)->stub().PullModel(&context, request);
  const auto done = LastOf(**connection, *reader, StderrIsTerminal());
  if (!done.ok()) return Fail(done.status());
  if (!quiet)
    std::cerr << model << " is in the cache at revision " << done->revision() << std::endl;
  std::cout << Printable(done->path()) << std::endl;
  return kExitOk;
}

// ftd refuses while a job that has not ended needs the repository.
int Remove(const Invocation& call) {
  ftd::v1::DeleteModelRequest request;
  std::string model;
  bool dataset = false;
  Flags flags(
      call, "models rm",
      "Remove a model from the server's cache, all its revisions. A model that a job needs is "
      "never removed.",
      "  ftctl models rm llama3.1-8b\n  ftctl models rm --dataset tatsu-lab/alpaca\n");
  flags.Positional("MODEL", "Alias or OWNER/NAME", &model);
  flags.Switch("--dataset", "It is a dataset", &dataset);
  if (const auto code = flags.Parse()) return *code;
  request.set_model(model);
  request.set_type(dataset ? Model::DATASET : Model::MODEL);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto removed = (*connection)->Call(&FineTuning::Stub::DeleteModel, request);
  if (!removed.ok()) return Fail(removed.status());
  std::cerr << model << " is removed: " << ShortBytes(removed->freed_bytes()) << " are free again"
            << std::endl;
  return kExitOk;
}

// The names of damaged files go to stdout, one a line; what to do to stderr.
int Verify(const Invocation& call) {
  ftd::v1::VerifyModelRequest request;
  std::string model;
  bool dataset = false;
  Flags flags(
      call, "models verify",
      "Read every byte of a cached model and compare it with its digest. Exit code: 0 whole, "
      "74 damaged.",
      "  ftctl models verify llama3.1-8b\n");
  flags.Positional("MODEL", "Alias or OWNER/NAME", &model);
  flags.Switch("--dataset", "It is a dataset", &dataset);
  if (const auto code = flags.Parse()) return *code;
  request.set_model(model);
  request.set_type(dataset ? Model::DATASET : Model::MODEL);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  grpc::ClientContext context;
  auto reader = (*connection)->stub().VerifyModel(&context, request);
  const auto done = LastOf(**connection, *reader, StderrIsTerminal());
  if (!done.ok()) return Fail(done.status());
  for (const std::string& file : done->damaged_files()) std::cout << Printable(file) << "\n";
  if (done->damaged_files().empty()) {
    std::cerr << model << " is whole" << std::endl;
    return kExitOk;
  }
  return Fail(absl::DataLossError(
      absl::StrCat(done->damaged_files_size(), " damaged file(s); `ftctl models rm ", model,
                   "` and `ftctl models pull ", model, "` fetch it again")));
}

constexpr Verb kModelsVerbs[] = {{"ls", "List them", ListModels},
                                 {"pull", "Fetch a model into the cache", Pull},
                                 {"rm", "Remove one from the cache", Remove},
                                 {"verify", "Compare one with its digests", Verify}};

}  // namespace

int ModelsVerb(const Invocation& call) { return RunSubVerb(call, "models", kModelsVerbs); }

}  // namespace ftd

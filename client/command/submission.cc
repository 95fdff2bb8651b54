#include "client/command/submission.h"

#include <filesystem>

#include "client/rpc/upload.h"
#include "lib/base/error.h"
#include "lib/spec/dataset_spec.h"
#include "lib/spec/repo_name.h"

namespace ftd {
namespace {

// Returns whether the rows come from the hub. A file of that name takes precedence, as the shell's
// completion suggests.
bool NamesHubDataset(const SubmitFlags& submit) {
  const bool has_flags = submit.request.spec().dataset().has_hub();
  std::error_code error;
  if (submit.dataset.empty() || std::filesystem::exists(submit.dataset, error)) return has_flags;
  return hub::IsRepoName(submit.dataset);
}

}  // namespace

// Files are uploaded before the job is submitted, and stay on the server if it is then refused.
absl::Status BringDataset(Connection& connection, SubmitFlags* submit) {
  auto* dataset = submit->request.mutable_spec()->mutable_dataset();
  if (NamesHubDataset(*submit)) {
    auto* hub = dataset->mutable_hub();
    if (!submit->dataset.empty()) hub->set_name(submit->dataset);
    if (hub->name().empty()) hub->set_name(kDefaultDataset);
  } else if (!submit->dataset.empty()) {
    return UploadDataset(connection, submit->dataset, dataset);
  }
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<Connection>> ConnectWithRows(const ServerAddress& server,
                                                            SubmitFlags* submit) {
  FTD_RETURN_IF_ERROR(CompleteRequest(submit));
  FTD_ASSIGN_OR_RETURN(auto connection, Connect(server));
  FTD_RETURN_IF_ERROR(BringDataset(*connection, submit));
  return connection;
}

absl::StatusOr<ftd::v1::Job> Submit(Connection& connection, SubmitFlags* submit) {
  FTD_RETURN_IF_ERROR(BringDataset(connection, submit));
  return connection.Call(&ftd::v1::FineTuning::Stub::SubmitJob, submit->request);
}

}  // namespace ftd

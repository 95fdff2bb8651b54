// Submits what the flags describe: shared by `submit` and `run`.
#pragma once

#include <memory>

#include "absl/status/statusor.h"
#include "client/command/submit_flags.h"
#include "client/rpc/connection.h"
#include "ftd/v1/job.pb.h"

namespace ftd {

// Sends the dataset, unless it is the hub's, and names it in the request. Requires: CompleteRequest
// has returned OK.
absl::Status BringDataset(Connection& connection, SubmitFlags* submit);

// CompleteRequest, and a connection over which BringDataset has sent the rows: for a look at a spec
// before there is a job.
absl::StatusOr<std::unique_ptr<Connection>> ConnectWithRows(const ServerAddress& server,
                                                            SubmitFlags* submit);

// BringDataset, and queues the job. Requires: CompleteRequest has returned OK.
absl::StatusOr<ftd::v1::Job> Submit(Connection& connection, SubmitFlags* submit);

}  // namespace ftd

// A job's result into a repository of the Hugging Face hub.
#pragma once

#include <string>

#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "server/jobs/job_store.h"
#include "server/requests/client_task.h"

namespace ftd {

// Pushes all files of the result of the job of that id, with the token that the server has. What
// goes up names no directory of this machine. Takes as long as it takes. Errors: PushResult's;
// CANCELLED when the caller has gone.
absl::StatusOr<v1::Push> PushResult(JobStore& store, const std::string& job,
                                    const v1::PushResultRequest& request,
                                    const ClientTaskControls& controls);

}  // namespace ftd

// Answers of a job's result or of a model, as they come.
#pragma once

#include <functional>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "client/rpc/connection.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "grpcpp/client_context.h"

namespace ftd {

// A whole answer; what had come of one that was broken off.
struct Answer {
  std::string text;
  v1::GenerateResponse::Outcome outcome;  // absent fields: it was broken off
};

struct AnswerView {
  std::function<void(std::string_view text)> on_text;            // each piece as it comes
  std::function<void(std::string_view device)> on_loading = {};  // may be empty
};

// Says what `name` is: sets the request's job, or its model where the server has no such job. Asks
// the server. Errors: GetJob's, but for JOB_NOT_FOUND.
absl::Status SetSource(Connection& connection, const std::string& name,
                       v1::GenerateRequest& request);

// Asks for one answer. Another thread may cancel it by the context. *answer has what came, also
// after an error. Errors: those of Generate.
absl::Status Ask(Connection& connection, grpc::ClientContext& context,
                 const v1::GenerateRequest& request, const AnswerView& view, Answer* answer);

}  // namespace ftd

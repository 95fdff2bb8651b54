#include "client/rpc/answer.h"

#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {

absl::Status SetSource(Connection& connection, const std::string& name,
                       v1::GenerateRequest& request) {
  // No job's name or id has a slash.
  if (name.find('/') != std::string::npos) {
    request.set_model(name);
    return absl::OkStatus();
  }
  v1::GetJobRequest job;
  job.set_job(name);
  const auto found = connection.Call(&v1::FineTuning::Stub::GetJob, job);
  if (found.ok()) {
    request.set_job(found->id());
  } else if (ReasonOf(found.status()) == Reason::kJobNotFound) {
    request.set_model(name);
  } else {
    return found.status();
  }
  return absl::OkStatus();
}

absl::Status Ask(Connection& connection, grpc::ClientContext& context,
                 const v1::GenerateRequest& request, const AnswerView& view, Answer* answer) {
  const auto reader = connection.stub().Generate(&context, request);
  v1::GenerateResponse response;
  while (reader->Read(&response)) {
    if (response.has_loading() && view.on_loading) view.on_loading(response.loading().device());
    if (response.has_piece()) {
      answer->text += response.piece().text();
      view.on_text(response.piece().text());
    }
    if (response.has_outcome()) answer->outcome = response.outcome();
  }
  absl::Status status = connection.ToStatus(reader->Finish());
  // The name was taken for a model's because no job has it.
  if (ReasonOf(status) == Reason::kModelNotFound && request.has_model() &&
      request.model().find('/') == std::string::npos) {
    return Prefixed(status, absl::StrCat("there is no job ", request.model(), ", and: "));
  }
  return status;
}

}  // namespace ftd

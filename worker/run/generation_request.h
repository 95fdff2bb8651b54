// A request for an answer, as a client of a generation server writes it.
#pragma once

#include <string_view>

#include "absl/status/statusor.h"
#include "worker/run/generation.h"

namespace ftd {

// Parses one request (generation_server.h). INVALID_ARGUMENT, with a violation for each field that
// is unknown, of another type or out of its range; and the errors of PromptOfMessages.
absl::StatusOr<AnswerRequest> ParseAnswerRequest(std::string_view line,
                                                 const Generation& generation);

}  // namespace ftd

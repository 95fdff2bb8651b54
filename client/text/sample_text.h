// What a model answered to a prompt while it was trained, for people.
#pragma once

#include <string>

#include "ftd/v1/job.pb.h"

namespace ftd {

// Returns `"the prompt" -> "the answer"` on one line; of messages the content of the last. A prompt
// is shortened to 40 columns and an answer to `columns`.
std::string SampleText(const ftd::v1::GeneratedSample& sample, int columns);

}  // namespace ftd

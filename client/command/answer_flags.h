// The flags that say how tokens of an answer are chosen, and how many.
#pragma once

#include <string>

#include "client/command/flags.h"
#include "ftd/v1/fine_tuning.pb.h"

namespace ftd {

// Declares them. `request` has to outlive the parsing.
void AddAnswerFlags(Flags& flags, v1::GenerateRequest* request);

}  // namespace ftd

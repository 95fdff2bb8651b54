// The texts that the build asks each program for, to install them beside it: `PROGRAM --generate
// KIND`.
#pragma once

#include <functional>
#include <string>

#include "absl/status/statusor.h"
#include "lib/cli/command_doc.h"

namespace ftd {

// KIND is man, bash, zsh or fish. INVALID_ARGUMENT reason USAGE for any other.
absl::StatusOr<std::string> Generate(const std::string& kind, const ProgramDoc& program);

// If the command line is `PROGRAM --generate KIND`: prints it and sets `*exit_code`. It must stand
// alone; it is for the build and no part of --help.
bool IsGenerateCall(int argc, char** argv, const std::function<ProgramDoc()>& describe,
                    int* exit_code);

}  // namespace ftd

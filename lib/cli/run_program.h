// What every program does around its own work.
#pragma once

#include <functional>

namespace ftd {

// Runs `body` and returns its exit code. Arguments that are not UTF-8, such as the name of a
// Latin-1 file, are refused (65): they could be neither sent, nor recorded, nor shown. If standard
// output could not be written in full, because the disk is full or it is closed, a success becomes
// 74, so that no script takes a cut file for the whole.
int RunProgram(const char* name, int argc, char** argv, const std::function<int()>& body);

}  // namespace ftd

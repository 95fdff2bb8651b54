// What full screens have in common. Pure functions.
#pragma once

#include <string>
#include <vector>

#include "client/text/styled_line.h"
#include "ftd/v1/fine_tuning.pb.h"

namespace ftd {

using Gpu = ftd::v1::WatchQueueResponse::Gpu;
using Gpus = google::protobuf::RepeatedPtrField<Gpu>;

struct ScreenStyle {
  int columns = 80;
  int rows = 24;
  bool color = false;   // ANSI colours
  bool unicode = true;  // braille and block characters, else ASCII
};

// The colour of a state.
Ink StateInk(ftd::v1::Job::State state);

// A bar filled to `share`, 0 to 1, as long as `text` after it leaves room for.
StyledLine BarLine(double share, const std::string& text, const ScreenStyle& style);

// "GPU 0  NVIDIA H200   97% busy   41.2 GB of 150.8 GB   640 W   63 °C", with what is known.
StyledLine GpuLine(const Gpu& gpu, bool unicode);

// Returns the lines as text, the first of them where there are more than the screen has rows.
std::vector<std::string> RenderLines(const std::vector<StyledLine>& lines,
                                     const ScreenStyle& style);

}  // namespace ftd

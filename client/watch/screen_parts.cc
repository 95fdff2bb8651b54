#include "client/watch/screen_parts.h"

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "client/text/text.h"
#include "lib/base/short_bytes.h"

namespace ftd {
namespace {

// A bar of `share` of `cells`, filled up to all of them.
std::string BarOfAll(double share, int cells, bool unicode) {
  const int eighths = static_cast<int>(std::clamp(share, 0.0, 1.0) * cells * 8);
  const std::string bar = Bar(eighths, unicode);
  return unicode ? PadRight(bar, cells) : bar + std::string(cells - eighths / 8, '.');
}

}  // namespace

Ink StateInk(ftd::v1::Job::State state) {
  switch (state) {
    case ftd::v1::Job::SUCCEEDED:
      return Ink::kGood;
    case ftd::v1::Job::FAILED:
      return Ink::kBad;
    case ftd::v1::Job::RUNNING:
    case ftd::v1::Job::PREPARING:
      return Ink::kAccent;
    default:
      return Ink::kWarn;
  }
}

StyledLine BarLine(double share, const std::string& text, const ScreenStyle& style) {
  const int cells = std::clamp(style.columns - DisplayWidth(text) - 4, 4, 60);
  StyledLine line;
  line.Add(Ink::kDim, style.unicode ? "▕" : "[");
  line.Add(Ink::kAccent, BarOfAll(share, cells, style.unicode));
  line.Add(Ink::kDim, style.unicode ? "▏" : "]");
  line.Add(absl::StrCat(" ", text));
  return line;
}

StyledLine GpuLine(const Gpu& gpu, bool unicode) {
  StyledLine line;
  line.Add(Ink::kBold, absl::StrCat("GPU ", gpu.index()));
  if (!gpu.name().empty()) line.Add(Ink::kAccent, absl::StrCat("  ", gpu.name()));
  if (gpu.has_utilization_ratio())
    line.Add(absl::StrCat("   ", Fixed(100 * gpu.utilization_ratio(), 0), "% busy"));
  if (gpu.has_memory_used_bytes() && gpu.has_memory_total_bytes()) {
    line.Add(absl::StrCat("   ", ShortBytes(gpu.memory_used_bytes()), " of ",
                          ShortBytes(gpu.memory_total_bytes())));
  }
  if (gpu.has_power_watts()) line.Add(absl::StrCat("   ", Fixed(gpu.power_watts(), 0), " W"));
  if (gpu.has_temperature_celsius())
    line.Add(absl::StrCat("   ", Fixed(gpu.temperature_celsius(), 0), unicode ? " °C" : " C"));
  return line;
}

std::vector<std::string> RenderLines(const std::vector<StyledLine>& lines,
                                     const ScreenStyle& style) {
  const size_t shown = std::min(lines.size(), static_cast<size_t>(std::max(0, style.rows)));
  std::vector<std::string> out;
  for (size_t i = 0; i < shown; ++i)
    out.push_back(lines[i].Render(style.columns, style.color, style.unicode));
  return out;
}

}  // namespace ftd

// The terminal on stdout.
#pragma once

#include <termios.h>

#include <optional>
#include <string>
#include <vector>

#include "client/watch/screen_parts.h"

namespace ftd {

// Returns whether stdout is a terminal that can move its cursor.
bool StdoutIsTerminal();

// Size, NO_COLOR and the locale of the moment.
ScreenStyle TerminalStyle();

// Takes the whole terminal (its alternate screen, cursor hidden, keys not echoed) and gives it back
// as it was in the destructor.
class FullScreen {
 public:
  FullScreen();
  ~FullScreen();
  FullScreen(const FullScreen&) = delete;
  FullScreen& operator=(const FullScreen&) = delete;

  // Replaces what is shown, without flicker.
  void Draw(const std::vector<std::string>& lines);

 private:
  std::optional<termios> saved_;
};

}  // namespace ftd

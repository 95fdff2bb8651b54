// The terminal on stdout.
#pragma once

#include <termios.h>
#include <unistd.h>

#include <optional>
#include <string>
#include <vector>

#include "client/watch/screen_parts.h"

namespace ftd {

// Returns whether stdout, or stderr, is a terminal that can move its cursor.
bool StdoutIsTerminal();
bool StderrIsTerminal();

// Size, NO_COLOR and the locale of the moment.
ScreenStyle TerminalStyle();

// The same for what is printed on stdout and stays there: without colour unless it is a terminal.
ScreenStyle StdoutStyle();

// Prints the lines of a frame on stdout and flushes it, terminal or not.
void PrintLines(const std::vector<std::string>& lines);

// Takes the whole terminal (its alternate screen, cursor hidden, keys not echoed) and gives it back
// as it was in the destructor.
class FullScreen {
 public:
  FullScreen();
  ~FullScreen();
  FullScreen(const FullScreen&) = delete;
  FullScreen& operator=(const FullScreen&) = delete;

  // Where keys can be read as they are typed; -1 in the background.
  int keys() const { return saved_ ? STDIN_FILENO : -1; }

  // Replaces what is shown, without flicker.
  void Draw(const std::vector<std::string>& lines);

 private:
  std::optional<termios> saved_;
};

}  // namespace ftd

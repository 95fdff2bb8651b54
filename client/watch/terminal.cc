#include "client/watch/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <iostream>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "client/base/environment.h"
#include "lib/base/file.h"

namespace ftd {
namespace {

// Returns whether to print UTF-8. Terminals of today do so unless the locale says otherwise; many
// containers set no locale at all.
bool LocaleIsUtf8() {
  for (const char* name : {"LC_ALL", "LC_CTYPE", "LANG"}) {
    const std::string locale = absl::AsciiStrToLower(Environment(name));
    if (locale.empty()) continue;
    return absl::StrContains(locale, "utf-8") || absl::StrContains(locale, "utf8");
  }
  return true;
}

bool IsTerminal(int fd) {
  const std::string term = Environment("TERM");
  return isatty(fd) != 0 && !term.empty() && term != "dumb";
}

void Print(const std::string& text) {
  // A terminal that is gone shows nothing; SIGHUP ends the process.
  WriteAll(STDOUT_FILENO, text, "terminal").IgnoreError();
}

}  // namespace

bool StdoutIsTerminal() { return IsTerminal(STDOUT_FILENO); }
bool StderrIsTerminal() { return IsTerminal(STDERR_FILENO); }

// Asked for each frame, so a resized terminal needs no special care.
ScreenStyle TerminalStyle() {
  ScreenStyle style;
  winsize size{};
  if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 0 && size.ws_row > 0) {
    style.columns = size.ws_col;
    style.rows = size.ws_row;
  }
  style.color = Environment("NO_COLOR").empty();
  style.unicode = LocaleIsUtf8();
  return style;
}

ScreenStyle StdoutStyle() {
  ScreenStyle style = TerminalStyle();
  style.color = style.color && StdoutIsTerminal();
  return style;
}

void PrintLines(const std::vector<std::string>& lines) {
  for (const std::string& line : lines) std::cout << line << '\n';
  std::cout << std::flush;
}

// xterm's sequences: 1049 is the alternate screen, 25 the cursor, 2J clears.
FullScreen::FullScreen() {
  // Echo off, so that keys typed by accident do not disturb the picture.
  termios now{};
  // A process in the background must not touch the keys: it would be stopped.
  if (tcgetpgrp(STDIN_FILENO) == getpgrp() && tcgetattr(STDIN_FILENO, &now) == 0) {
    saved_ = now;
    now.c_lflag &= ~static_cast<tcflag_t>(ECHO | ICANON);
    tcsetattr(STDIN_FILENO, TCSANOW, &now);
  }
  Print("\x1b[?1049h\x1b[?25l\x1b[2J");
}

FullScreen::~FullScreen() {
  Print("\x1b[?25h\x1b[?1049l");
  // TCSAFLUSH drops the keys that were typed meanwhile; the shell must not run them.
  if (saved_) tcsetattr(STDIN_FILENO, TCSAFLUSH, &*saved_);
}

// One write per frame, so that a terminal never shows half of one.
void FullScreen::Draw(const std::vector<std::string>& lines) {
  // Each line is overwritten and cleared to its end: clearing the screen first would flicker.
  Print(absl::StrCat("\x1b[H", absl::StrJoin(lines, "\x1b[K\r\n"), "\x1b[K\x1b[J"));
}

}  // namespace ftd

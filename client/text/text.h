// Text for people: what a terminal may show, how wide it is, and short forms of numbers.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace ftd {

// `text` with control characters (a message may hold a terminal's escape codes) and bytes that are
// no UTF-8 replaced by '?'. Line ends and tabs become blanks.
std::string Printable(std::string_view text);

// The same, but line ends stay.
std::string PrintableLines(std::string_view text);

// JSON that says the same, with those control characters that JSON allows in a text as escapes.
std::string ControlsEscaped(std::string_view json);

// Columns that printable UTF-8 takes on a terminal: 2 for East Asian wide characters and emoji, 0
// for combining marks.
int DisplayWidth(std::string_view text);

// The longest beginning of `text` that is at most `columns` wide; where something is lost the last
// column is '…'
// ("~" when `unicode` is false).
std::string Shorten(std::string_view text, int columns, bool unicode = true);

// A bar of so many eighths of a column; when `unicode` is false '#' for each whole column.
std::string Bar(int eighths, bool unicode);

// Returns `text` padded on the right with blanks, up to `columns`.
std::string PadRight(std::string_view text, int columns);

// "45s", "1m20s", "3h05m", "2d04h". Negative counts as 0.
std::string ShortDuration(double seconds);

// Reads what ShortDuration writes and its like, in seconds: "1d12h", "90m", "45s". Nullopt for what
// does not read so.
std::optional<int64_t> ParseDuration(std::string_view text);

// printf("%.*f") and printf("%.*e").
std::string Fixed(double value, int digits);
std::string Scientific(double value, int digits);

}  // namespace ftd

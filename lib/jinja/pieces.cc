#include "lib/jinja/pieces.h"

#include <algorithm>
#include <limits>

#include "lib/base/utf8.h"
#include "lib/jinja/runtime.h"
#include "lib/jinja/unicode.h"

namespace ftd::jinja {
namespace {

using std::string_view;

size_t LengthAt(string_view text, size_t pos) {
  return Utf8Length(static_cast<unsigned char>(text[pos]));
}

size_t SkipWhile(string_view text, size_t pos, bool space) {
  while (pos < text.size() && IsSpace(DecodeUtf8(text, pos)) == space) pos += LengthAt(text, pos);
  return pos;
}

size_t SkipBackWhile(string_view text, bool space) {
  while (!text.empty()) {
    const size_t begin = LastCodePointBegin(text);
    if (IsSpace(DecodeUtf8(text, begin)) != space) break;
    text = text.substr(0, begin);
  }
  return text.size();
}

std::vector<string_view> SplitAtSpace(string_view text, int64_t most) {
  std::vector<string_view> pieces;
  size_t pos = SkipWhile(text, 0, true);
  for (; pos < text.size() && most != 0; --most) {
    const size_t end = SkipWhile(text, pos, false);
    pieces.push_back(text.substr(pos, end - pos));
    pos = SkipWhile(text, end, true);
  }
  if (pos < text.size()) pieces.push_back(text.substr(pos));
  return pieces;
}

std::vector<string_view> SplitAtSpaceFromEnd(string_view text, int64_t most) {
  std::vector<string_view> pieces;
  text = text.substr(0, SkipBackWhile(text, true));
  for (; !text.empty() && most != 0; --most) {
    const size_t begin = SkipBackWhile(text, false);
    pieces.push_back(text.substr(begin));
    text = text.substr(0, SkipBackWhile(text.substr(0, begin), true));
  }
  if (!text.empty()) pieces.push_back(text);
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

// A negative limit is none.
int64_t Limit(int64_t most) { return most < 0 ? std::numeric_limits<int64_t>::max() : most; }

bool IsLineEnd(uint32_t point) {
  return (point >= 0xA && point <= 0xD) || (point >= 0x1C && point <= 0x1E) || point == 0x85 ||
         point == 0x2028 || point == 0x2029;
}

}  // namespace

string_view Stripped(string_view text, const std::string* chars, bool left, bool right) {
  const auto drops = [&](size_t pos) {
    if (chars == nullptr) return IsSpace(DecodeUtf8(text, pos));
    return chars->find(text.substr(pos, LengthAt(text, pos))) != std::string::npos;
  };
  while (left && !text.empty() && drops(0)) text.remove_prefix(LengthAt(text, 0));
  while (right && !text.empty()) {
    const size_t begin = LastCodePointBegin(text);
    if (!drops(begin)) break;
    text = text.substr(0, begin);
  }
  return text;
}

std::vector<string_view> SplitText(string_view text, const std::string* separator, int64_t most) {
  most = Limit(most);
  if (separator == nullptr) return SplitAtSpace(text, most);
  std::vector<string_view> pieces;
  for (; most != 0; --most) {
    const size_t at = text.find(*separator);
    if (at == string_view::npos) break;
    pieces.push_back(text.substr(0, at));
    text.remove_prefix(at + separator->size());
  }
  pieces.push_back(text);
  return pieces;
}

std::vector<string_view> SplitFromEnd(string_view text, const std::string* separator,
                                      int64_t most) {
  most = Limit(most);
  if (separator == nullptr) return SplitAtSpaceFromEnd(text, most);
  std::vector<string_view> pieces;
  for (; most != 0; --most) {
    const size_t at = text.rfind(*separator);
    if (at == string_view::npos) break;
    pieces.push_back(text.substr(at + separator->size()));
    text = text.substr(0, at);
  }
  pieces.push_back(text);
  std::reverse(pieces.begin(), pieces.end());
  return pieces;
}

std::vector<string_view> SplitLines(string_view text, bool keep_ends) {
  std::vector<string_view> lines;
  size_t begin = 0;
  for (size_t pos = 0; pos < text.size();) {
    const uint32_t point = DecodeUtf8(text, pos);
    const size_t end = pos;
    pos += LengthAt(text, pos);
    if (!IsLineEnd(point)) continue;
    if (point == '\r' && pos < text.size() && text[pos] == '\n') ++pos;
    lines.push_back(text.substr(begin, (keep_ends ? pos : end) - begin));
    begin = pos;
  }
  if (begin < text.size()) lines.push_back(text.substr(begin));
  return lines;
}

std::string Replaced(Runtime& runtime, string_view text, string_view old, string_view with,
                     int64_t most) {
  most = Limit(most);
  std::string out;
  size_t pos = 0;
  const auto append = [&](string_view part) {
    runtime.Allocate(part.size() + 1);
    out.append(part);
  };
  if (old.empty()) {  // before each code point, and at the end
    while (most != 0) {
      append(with);
      --most;
      if (pos >= text.size()) return out;
      append(text.substr(pos, LengthAt(text, pos)));
      pos += LengthAt(text, pos);
    }
  }
  for (size_t at = 0; most != 0 && !old.empty(); --most) {
    at = text.find(old, pos);
    if (at == string_view::npos) break;
    append(text.substr(pos, at - pos));
    append(with);
    pos = at + old.size();
  }
  append(text.substr(pos));
  return out;
}

bool HasOneCase(string_view text, bool upper) {
  bool cased = false;
  const bool valid = AllPoints(text, [&](uint32_t point) {
    if (IsTitle(point) || (upper ? IsLower(point) : IsUpper(point))) return false;
    cased = cased || (upper ? IsUpper(point) : IsLower(point));
    return true;
  });
  return valid && cased;
}

}  // namespace ftd::jinja

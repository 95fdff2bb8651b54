#include "lib/jinja/unicode.h"

#include <algorithm>
#include <iterator>

#include "lib/base/utf8.h"
#include "lib/jinja/unicode_tables.h"
#include "utf8proc.h"

namespace ftd::jinja {
namespace {

template <size_t N>
bool IsIn(const CodePointRange (&table)[N], uint32_t point) {
  return ftd::IsIn(table, N, point);
}

template <size_t N>
const char* Find(const Special (&table)[N], uint32_t point) {
  const auto* found =
      std::lower_bound(std::begin(table), std::end(table), point,
                       [](const Special& row, uint32_t p) { return row.code_point < p; });
  return found != std::end(table) && found->code_point == point ? found->text : nullptr;
}

utf8proc_category_t Category(uint32_t point) {
  return utf8proc_category(static_cast<utf8proc_int32_t>(point));
}

bool IsCased(uint32_t point) { return IsLower(point) || IsUpper(point) || IsTitle(point); }

// Case_Ignorable: marks, formats, modifiers, and what joins the letters of a word.
bool IsCaseIgnorable(uint32_t point) {
  constexpr uint32_t kWithinWords[] = {0x27,   0x2E,   0x3A,   0xB7,   0x387,  0x55F,
                                       0x5F4,  0x2018, 0x2019, 0x2024, 0x2027, 0xFE13,
                                       0xFE52, 0xFE55, 0xFF07, 0xFF0E, 0xFF1A};
  switch (Category(point)) {
    case UTF8PROC_CATEGORY_MN:
    case UTF8PROC_CATEGORY_ME:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_SK:
      return true;
    default:
      return std::binary_search(std::begin(kWithinWords), std::end(kWithinWords), point);
  }
}

void AppendUpper(uint32_t point, std::string* out) {
  if (point < 0x80) {
    return out->push_back(static_cast<char>(point >= 'a' && point <= 'z' ? point - 32 : point));
  }
  if (const char* special = Find(kSpecialUpper, point)) return void(out->append(special));
  AppendUtf8(static_cast<uint32_t>(utf8proc_toupper(static_cast<utf8proc_int32_t>(point))), out);
}

void AppendTitle(uint32_t point, std::string* out) {
  if (const char* special = Find(kSpecialTitle, point)) return void(out->append(special));
  AppendUtf8(static_cast<uint32_t>(utf8proc_totitle(static_cast<utf8proc_int32_t>(point))), out);
}

// Returns whether the next code point that is not case-ignorable is cased.
bool CasedFollows(std::string_view text, size_t pos) {
  while (pos < text.size()) {
    const uint32_t point = DecodeUtf8(text, pos);
    if (!IsCaseIgnorable(point)) return IsCased(point);
    pos += Utf8Length(static_cast<unsigned char>(text[pos]));
  }
  return false;
}

bool CasedPrecedes(std::string_view text) {
  while (!text.empty()) {
    const size_t begin = LastCodePointBegin(text);
    const uint32_t point = DecodeUtf8(text, begin);
    if (!IsCaseIgnorable(point)) return IsCased(point);
    text = text.substr(0, begin);
  }
  return false;
}

// A sigma at the end of a word has its own form. `pos` is that of the code point in `text`.
void AppendLower(uint32_t point, std::string_view text, size_t pos, std::string* out) {
  if (point < 0x80) {
    return out->push_back(static_cast<char>(point >= 'A' && point <= 'Z' ? point + 32 : point));
  }
  if (point == 0x130) return void(out->append("i\u0307"));
  if (point == 0x3A3) {
    const bool final = CasedPrecedes(text.substr(0, pos)) && !CasedFollows(text, pos + 2);
    return void(out->append(final ? "ς" : "σ"));
  }
  AppendUtf8(static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point))), out);
}

template <typename Visit>
std::string Mapped(std::string_view text, const Visit& visit) {
  std::string out;
  out.reserve(text.size());
  for (size_t pos = 0; pos < text.size();) {
    visit(DecodeUtf8(text, pos), pos, &out);
    pos += Utf8Length(static_cast<unsigned char>(text[pos]));
  }
  return out;
}

}  // namespace

bool IsSpace(uint32_t point) { return (point >= 0x1C && point <= 0x1F) || IsUnicodeSpace(point); }

bool IsAlpha(uint32_t point) {
  switch (Category(point)) {
    case UTF8PROC_CATEGORY_LU:
    case UTF8PROC_CATEGORY_LL:
    case UTF8PROC_CATEGORY_LT:
    case UTF8PROC_CATEGORY_LM:
    case UTF8PROC_CATEGORY_LO:
      return true;
    default:
      return false;
  }
}

bool IsDecimal(uint32_t point) { return Category(point) == UTF8PROC_CATEGORY_ND; }
bool IsDigit(uint32_t point) { return IsDecimal(point) || IsIn(kOtherDigits, point); }

bool IsNumeric(uint32_t point) {
  const auto category = Category(point);
  return category == UTF8PROC_CATEGORY_ND || category == UTF8PROC_CATEGORY_NL ||
         category == UTF8PROC_CATEGORY_NO || IsIn(kOtherNumeric, point);
}

bool IsLower(uint32_t point) {
  return Category(point) == UTF8PROC_CATEGORY_LL || IsIn(kOtherLowercase, point);
}
bool IsUpper(uint32_t point) {
  return Category(point) == UTF8PROC_CATEGORY_LU || IsIn(kOtherUppercase, point);
}
bool IsTitle(uint32_t point) { return Category(point) == UTF8PROC_CATEGORY_LT; }

bool IsPrintable(uint32_t point) {
  if (point < 0x7F) return point >= 0x20;
  switch (Category(point)) {
    case UTF8PROC_CATEGORY_CC:
    case UTF8PROC_CATEGORY_CF:
    case UTF8PROC_CATEGORY_CS:
    case UTF8PROC_CATEGORY_CO:
    case UTF8PROC_CATEGORY_CN:
    case UTF8PROC_CATEGORY_ZL:
    case UTF8PROC_CATEGORY_ZP:
    case UTF8PROC_CATEGORY_ZS:
      return false;
    default:
      return true;
  }
}

std::string ToUpper(std::string_view text) {
  return Mapped(text, [](uint32_t point, size_t, std::string* out) { AppendUpper(point, out); });
}

std::string ToLower(std::string_view text) {
  return Mapped(text, [&](uint32_t point, size_t pos, std::string* out) {
    AppendLower(point, text, pos, out);
  });
}

// Each letter after one without case begins a word.
std::string ToTitle(std::string_view text) {
  bool within = false;
  return Mapped(text, [&](uint32_t point, size_t pos, std::string* out) {
    within ? AppendLower(point, text, pos, out) : AppendTitle(point, out);
    within = IsCased(point);
  });
}

std::string Capitalized(std::string_view text) {
  return Mapped(text, [&](uint32_t point, size_t pos, std::string* out) {
    pos > 0 ? AppendLower(point, text, pos, out) : AppendTitle(point, out);
  });
}

std::string SwapCase(std::string_view text) {
  return Mapped(text, [&](uint32_t point, size_t pos, std::string* out) {
    if (IsUpper(point)) return AppendLower(point, text, pos, out);
    IsLower(point) ? AppendUpper(point, out) : AppendUtf8(point, out);
  });
}

bool AllPoints(std::string_view text, const std::function<bool(uint32_t)>& visit) {
  for (size_t pos = 0; pos < text.size();) {
    if (!visit(DecodeUtf8(text, pos))) return false;
    pos += Utf8Length(static_cast<unsigned char>(text[pos]));
  }
  return true;
}

}  // namespace ftd::jinja

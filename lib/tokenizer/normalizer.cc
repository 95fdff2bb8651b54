#include "lib/tokenizer/normalizer.h"

#include <algorithm>
#include <cstdlib>
#include <utility>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/tokenizer/json_fields.h"
#include "lib/tokenizer/regex/unicode_tables.h"
#include "utf8proc.h"

namespace ftd {
namespace {

using nlohmann::json;

bool IsInertMark(uint32_t point) { return IsIn(kInertMarks, kInertMarksSize, point); }

class UnicodeFormNormalizer : public Normalizer {
 public:
  explicit UnicodeFormNormalizer(int options) : options_(options) {}

  // No form changes ASCII, and no ASCII character changes what is before it: only the stretches of
  // other characters are looked at, each with the character before it, to which a mark may belong.
  void Apply(std::string* text, RegexScratch&) const override {
    const auto is_ascii = [](char c) { return (c & 0x80) == 0; };
    std::string out;
    auto done = text->cbegin();
    while (true) {
      const auto other = std::find_if_not(done, text->cend(), is_ascii);
      if (other == text->cend()) break;
      const auto begin = other == done ? other : other - 1;
      const auto end = std::find_if(other, text->cend(), is_ascii);
      out.append(done, begin);
      AppendForm({&*begin, static_cast<size_t>(end - begin)}, &out);
      done = end;
    }
    if (done == text->cbegin()) return;
    out.append(done, text->cend());
    *text = std::move(out);
  }

 private:
  // Inert marks neither compose nor move in the Unicode of `tokenizers`, although they do in
  // utf8proc's. So the stretches between them are normalised one by one.
  void AppendForm(std::string_view text, std::string* out) const {
    size_t begin = 0;
    for (size_t pos = 0, length; pos < text.size(); pos += length) {
      const auto lead = static_cast<unsigned char>(text[pos]);
      length = Utf8Length(lead);
      if (lead < 0x80 || !IsInertMark(DecodeUtf8(text, pos))) continue;
      AppendNormalized(text.substr(begin, pos - begin), out);
      out->append(text.substr(pos, length));
      begin = pos + length;
    }
    AppendNormalized(text.substr(begin), out);
  }

  void AppendNormalized(std::string_view text, std::string* out) const {
    if (text.empty()) return;
    utf8proc_uint8_t* result = nullptr;
    const utf8proc_ssize_t size =
        utf8proc_map(reinterpret_cast<const utf8proc_uint8_t*>(text.data()),
                     static_cast<utf8proc_ssize_t>(text.size()), &result,
                     static_cast<utf8proc_option_t>(options_));
    const std::unique_ptr<utf8proc_uint8_t, decltype(&std::free)> owner(result, &std::free);
    if (size < 0) {  // out of memory: the text is valid
      out->append(text);
    } else {
      out->append(reinterpret_cast<const char*>(result), static_cast<size_t>(size));
    }
  }

  const int options_;
};

// Unlike Metaspace, also before a text that begins with the prefix.
class PrependNormalizer : public Normalizer {
 public:
  explicit PrependNormalizer(std::string prefix) : prefix_(std::move(prefix)) {}
  void Apply(std::string* text, RegexScratch&) const override {
    if (!text->empty()) text->insert(0, prefix_);
  }

 private:
  const std::string prefix_;
};

class ReplaceNormalizer : public Normalizer {
 public:
  ReplaceNormalizer(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void Apply(std::string* text, RegexScratch& scratch) const override {
    std::string out;
    out.reserve(text->size() * 2);
    pattern_.ForEachSpan(*text, scratch, [&](Span span) {
      out.append(span.is_match ? std::string_view(content_)
                               : std::string_view(*text).substr(span.begin, span.end - span.begin));
    });
    *text = std::move(out);
  }

  // What a match is replaced by stands for all of it.
  size_t Follow(std::string_view before, size_t position, std::string_view after,
                RegexScratch& scratch) const override {
    size_t written = 0;
    size_t found = after.size();
    pattern_.ForEachSpan(before, scratch, [&](Span span) {
      if (span.begin <= position && position < span.end)
        found = span.is_match ? written : written + (position - span.begin);
      written += span.is_match ? content_.size() : span.end - span.begin;
    });
    return found;
  }

 private:
  const Regex pattern_;
  const std::string content_;
};

// Rust's char::to_lowercase, one character at a time: no special case for a final sigma.
class LowercaseNormalizer : public Normalizer {
 public:
  void Apply(std::string* text, RegexScratch&) const override {
    std::string out;
    out.reserve(text->size());
    for (size_t pos = 0; pos < text->size();
         pos += Utf8Length(static_cast<unsigned char>((*text)[pos]))) {
      const uint32_t point = DecodeUtf8(*text, pos);
      AppendUtf8(Lower(point), &out);
      if (point == 0x130)
        AppendUtf8(0x307, &out);  // the one letter whose lower case is two code points
    }
    *text = std::move(out);
  }

 private:
  static uint32_t Lower(uint32_t point) {
    for (size_t i = 0; i < kLowerExceptionsSize; ++i) {
      const MappedRange& range = kLowerExceptions[i];
      if (point >= range.first && point <= range.last) return range.target + (point - range.first);
    }
    return static_cast<uint32_t>(utf8proc_tolower(static_cast<utf8proc_int32_t>(point)));
  }
};

// Strips Unicode's white space at either end.
class StripNormalizer : public Normalizer {
 public:
  StripNormalizer(bool left, bool right) : left_(left), right_(right) {}
  void Apply(std::string* text, RegexScratch&) const override {
    const Span kept = Kept(*text);
    text->resize(kept.end);
    text->erase(0, kept.begin);
  }

  // The text before a position may end in white space that is in the middle of the whole text.
  size_t Follow(std::string_view before, size_t position, std::string_view,
                RegexScratch&) const override {
    const Span kept = Kept(before);
    return std::clamp(position, kept.begin, kept.end) - kept.begin;
  }

 private:
  Span Kept(std::string_view text) const {
    size_t begin = text.size();  // of what is not white space
    size_t end = 0;
    for (size_t pos = 0, length; pos < text.size(); pos += length) {
      length = Utf8Length(static_cast<unsigned char>(text[pos]));
      if (IsUnicodeSpace(DecodeUtf8(text, pos))) continue;
      begin = std::min(begin, pos);
      end = pos + length;
    }
    if (!right_) end = text.size();
    return {left_ ? std::min(begin, end) : 0, end};
  }

  const bool left_, right_;
};

absl::Status ParseNormalizer(const json& section, Normalizers* out);

absl::Status ParseSequence(const json& section, Normalizers* out) {
  FTD_ASSIGN_OR_RETURN(const json* steps,
                       ArrayField(section, "normalizers", "normalizer Sequence"));
  for (const json& step : *steps) FTD_RETURN_IF_ERROR(ParseNormalizer(step, out));
  return absl::OkStatus();
}

// {"pattern": {"String": " "}, "content": "▁"}, as Llama 2's tokenizer has it.
absl::Status ParseReplace(const json& section, Normalizers* out) {
  FTD_ASSIGN_OR_RETURN(const PatternField pattern, PatternOf(section, "normalizer Replace"));
  FTD_ASSIGN_OR_RETURN(std::string content, StringField(section, "content", "normalizer Replace"));
  Regex regex = Regex::Literal(pattern.text);
  if (pattern.is_regex) {
    FTD_ASSIGN_OR_RETURN(regex, Regex::Compile(pattern.text));
  }
  out->push_back(std::make_unique<ReplaceNormalizer>(std::move(regex), std::move(content)));
  return absl::OkStatus();
}

absl::Status ParseNormalizer(const json& section, Normalizers* out) {
  FTD_ASSIGN_OR_RETURN(const std::string type, TypeOf(section, "normalizer"));
  // STABLE: only compositions that later versions of Unicode cannot change.
  constexpr int kStable = UTF8PROC_STABLE;
  if (type == "Sequence") return ParseSequence(section, out);
  if (type == "Replace") return ParseReplace(section, out);
  if (type == "NFC") {
    out->push_back(std::make_unique<UnicodeFormNormalizer>(kStable | UTF8PROC_COMPOSE));
  } else if (type == "NFD") {
    out->push_back(std::make_unique<UnicodeFormNormalizer>(kStable | UTF8PROC_DECOMPOSE));
  } else if (type == "NFKC") {
    out->push_back(
        std::make_unique<UnicodeFormNormalizer>(kStable | UTF8PROC_COMPOSE | UTF8PROC_COMPAT));
  } else if (type == "NFKD") {
    out->push_back(
        std::make_unique<UnicodeFormNormalizer>(kStable | UTF8PROC_DECOMPOSE | UTF8PROC_COMPAT));
  } else if (type == "Prepend") {
    FTD_ASSIGN_OR_RETURN(std::string prefix, StringField(section, "prepend", "normalizer Prepend"));
    out->push_back(std::make_unique<PrependNormalizer>(std::move(prefix)));
  } else if (type == "Lowercase") {
    out->push_back(std::make_unique<LowercaseNormalizer>());
  } else if (type == "Strip") {
    FTD_ASSIGN_OR_RETURN(const bool left, BoolField(section, "strip_left", "normalizer Strip"));
    FTD_ASSIGN_OR_RETURN(const bool right, BoolField(section, "strip_right", "normalizer Strip"));
    out->push_back(std::make_unique<StripNormalizer>(left, right));
  } else {
    return UnsupportedTokenizer(Concat("the normalizer ", type, " is not supported"));
  }
  return absl::OkStatus();
}

}  // namespace

// The text before the character is rewritten by itself. `after` begins with the result, unless the
// character changes what was before it, as a combining mark does: then the two part where the
// character has gone.
size_t Normalizer::Follow(std::string_view before, size_t position, std::string_view after,
                          RegexScratch& scratch) const {
  std::string head(before.substr(0, position));
  Apply(&head, scratch);
  const size_t same =
      std::mismatch(head.begin(), head.end(), after.begin(), after.end()).first - head.begin();
  return same == after.size() ? same : LastCodePointBegin(after.substr(0, same + 1));
}

void Normalize(const Normalizers& steps, std::string* text, RegexScratch& scratch,
               std::vector<size_t>* positions) {
  std::string before;
  for (const auto& step : steps) {
    if (positions != nullptr) before = *text;
    step->Apply(text, scratch);
    if (positions == nullptr || *text == before) continue;
    for (size_t& position : *positions) position = step->Follow(before, position, *text, scratch);
  }
}

absl::StatusOr<Normalizers> ParseNormalizers(const json& section) {
  Normalizers steps;
  if (!section.is_null()) FTD_RETURN_IF_ERROR(ParseNormalizer(section, &steps));
  return steps;
}

}  // namespace ftd

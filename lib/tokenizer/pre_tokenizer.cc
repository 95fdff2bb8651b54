#include "lib/tokenizer/pre_tokenizer.h"

#include <utility>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/tokenizer/byte_level.h"
#include "lib/tokenizer/json_fields.h"
#include "lib/tokenizer/regex/unicode_tables.h"
#include "lib/tokenizer/split_behavior.h"

namespace ftd {
namespace {

using nlohmann::json;
using PieceSink = absl::FunctionRef<void(const Piece&)>;

// The pattern of GPT-2's encoder.py. ByteLevel with use_regex splits by it.
constexpr std::string_view kGpt2Pattern =
    R"('s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+)";

// Returns the part of `piece` from byte `begin` to `end`.
Piece Part(const Piece& piece, size_t begin, size_t end) {
  return {piece.text.substr(begin, end - begin), piece.at_start && begin == 0, piece.marks};
}

class SplitStep : public PreTokenizer {
 public:
  SplitStep(Regex pattern, SplitBehavior behavior, bool invert)
      : pattern_(std::move(pattern)), behavior_(behavior), invert_(invert) {}

  void Split(const Piece& piece, RegexScratch& scratch, PieceSink sink) const override {
    // Matches and the stretches between them are parts alike, so `invert` makes no difference.
    if (behavior_ == SplitBehavior::kIsolated) {
      pattern_.ForEachSpan(piece.text, scratch,
                           [&](Span span) { sink(Part(piece, span.begin, span.end)); });
      return;
    }
    std::vector<Span> spans;
    pattern_.ForEachSpan(piece.text, scratch, [&](Span span) {
      span.is_match = span.is_match != invert_;
      spans.push_back(span);
    });
    for (const Span& span : Arrange(spans, behavior_)) sink(Part(piece, span.begin, span.end));
  }

 private:
  const Regex pattern_;
  const SplitBehavior behavior_;
  const bool invert_;
};

// Splits by GPT-2's pattern and writes each byte as a letter of the byte alphabet. The letters are
// left out where the model takes bytes.
class ByteLevelStep : public PreTokenizer {
 public:
  ByteLevelStep(std::unique_ptr<Regex> pattern, bool add_prefix_space, bool to_letters)
      : pattern_(std::move(pattern)),
        add_prefix_space_(add_prefix_space),
        to_letters_(to_letters) {}

  void Split(const Piece& piece, RegexScratch& scratch, PieceSink sink) const override {
    // The space is put before every piece, not only the first, as `tokenizers` does.
    if (!add_prefix_space_ || piece.text.starts_with(" ")) return SplitSpaced(piece, scratch, sink);
    const RewrittenPiece spaced(piece, [](std::string_view text) { return Concat(" ", text); });
    SplitSpaced(spaced.piece(), scratch, sink);
  }

 private:
  void SplitSpaced(const Piece& piece, RegexScratch& scratch, PieceSink sink) const {
    if (pattern_ == nullptr) return Emit(piece, sink);
    pattern_->ForEachSpan(piece.text, scratch,
                          [&](Span span) { Emit(Part(piece, span.begin, span.end), sink); });
  }
  void Emit(const Piece& piece, PieceSink sink) const {
    if (!to_letters_) return sink(piece);
    sink(RewrittenPiece(piece, BytesToAlphabet).piece());
  }

  const std::unique_ptr<Regex> pattern_;
  const bool add_prefix_space_;
  const bool to_letters_;
};

// Numeric as Rust's char::is_numeric is: Nd, Nl and No.
bool IsNumeric(uint32_t point) {
  if (point < 0x80) return point >= '0' && point <= '9';
  return IsIn(kNumeric, kNumericSize, point);
}

// Separates numbers from the rest: "a12" → "a", "12", or "a", "1", "2" with individual_digits.
class DigitsStep : public PreTokenizer {
 public:
  explicit DigitsStep(bool individual) : individual_(individual) {}

  void Split(const Piece& piece, RegexScratch&, PieceSink sink) const override {
    size_t begin = 0;
    bool in_digits = false;
    for (size_t pos = 0; pos < piece.text.size();
         pos += Utf8Length(static_cast<unsigned char>(piece.text[pos]))) {
      const bool digit = IsNumeric(DecodeUtf8(piece.text, pos));
      if (pos > begin && (digit != in_digits || (digit && individual_))) {
        sink(Part(piece, begin, pos));
        begin = pos;
      }
      in_digits = digit;
    }
    sink(Part(piece, begin, piece.text.size()));
  }

 private:
  const bool individual_;
};

enum class PrependScheme { kAlways, kFirst, kNever };

// SentencePiece's words: "Hello my friend" → "▁Hello", "▁my", "▁friend".
class MetaspaceStep : public PreTokenizer {
 public:
  MetaspaceStep(std::string replacement, PrependScheme scheme, bool split)
      : replacement_(std::move(replacement)), scheme_(scheme), split_(split) {}

  void Split(const Piece& piece, RegexScratch&, PieceSink sink) const override {
    // A text that begins with a space has its ▁ already.
    const bool starts_with_meta =
        piece.text.starts_with(" ") || piece.text.starts_with(replacement_);
    const bool prepend =
        scheme_ == PrependScheme::kAlways || (scheme_ == PrependScheme::kFirst && piece.at_start);
    const std::string prefix(prepend && !starts_with_meta ? replacement_ : "");
    const RewrittenPiece rewritten(piece, [&](std::string_view text) {
      std::string out = prefix;
      out.reserve(text.size() * 2);
      for (const char c : text) c == ' ' ? (void)out.append(replacement_) : out.push_back(c);
      return out;
    });
    const Piece whole = rewritten.piece();
    size_t begin = 0;
    while (split_) {  // each replaced space begins a word
      // begin + 1: a ▁ at `begin` opens this word.
      const size_t end = whole.text.find(replacement_, begin + 1);
      if (end == std::string::npos) break;
      sink(Part(whole, begin, end));
      begin = end;
    }
    sink(Part(whole, begin, whole.text.size()));
  }

 private:
  const std::string replacement_;
  const PrependScheme scheme_;
  const bool split_;
};

absl::StatusOr<std::unique_ptr<PreTokenizer>> ParseSplit(const json& section) {
  constexpr std::string_view kWhat = "pre_tokenizer Split";
  FTD_ASSIGN_OR_RETURN(const PatternField pattern, PatternOf(section, kWhat));
  FTD_ASSIGN_OR_RETURN(const std::string name, StringField(section, "behavior", kWhat));
  FTD_ASSIGN_OR_RETURN(const bool invert, BoolFieldOr(section, "invert", false, kWhat));
  const auto behavior = SplitBehaviorOf(name);
  if (!behavior.has_value()) {
    return UnsupportedTokenizer(
        Concat("pre_tokenizer Split with behavior \"", name, "\" is not supported"));
  }
  Regex regex = Regex::Literal(pattern.text);
  if (pattern.is_regex) {
    FTD_ASSIGN_OR_RETURN(regex, Regex::Compile(pattern.text));
  }
  return std::make_unique<SplitStep>(std::move(regex), *behavior, invert);
}

// Llama 3 splits by a pattern of its own first, and has use_regex false here.
absl::StatusOr<std::unique_ptr<PreTokenizer>> ParseByteLevel(const json& section, bool to_letters) {
  constexpr std::string_view kWhat = "pre_tokenizer ByteLevel";
  FTD_ASSIGN_OR_RETURN(const bool add_prefix_space, BoolField(section, "add_prefix_space", kWhat));
  FTD_ASSIGN_OR_RETURN(const bool use_regex, BoolFieldOr(section, "use_regex", true, kWhat));
  std::unique_ptr<Regex> pattern;
  if (use_regex) {
    FTD_ASSIGN_OR_RETURN(Regex regex, Regex::Compile(kGpt2Pattern));
    pattern = std::make_unique<Regex>(std::move(regex));
  }
  return std::make_unique<ByteLevelStep>(std::move(pattern), add_prefix_space, to_letters);
}

absl::StatusOr<std::unique_ptr<PreTokenizer>> ParseMetaspace(const json& section) {
  constexpr std::string_view kWhat = "pre_tokenizer Metaspace";
  FTD_ASSIGN_OR_RETURN(std::string replacement, StringField(section, "replacement", kWhat));
  FTD_ASSIGN_OR_RETURN(const bool prefix, BoolFieldOr(section, "add_prefix_space", true, kWhat));
  FTD_ASSIGN_OR_RETURN(const bool split, BoolFieldOr(section, "split", true, kWhat));
  FTD_ASSIGN_OR_RETURN(const std::string name,
                       StringFieldOr(section, "prepend_scheme", "always", kWhat));
  if (replacement.empty() ||
      Utf8Length(static_cast<unsigned char>(replacement[0])) != replacement.size()) {
    return CorruptTokenizer("pre_tokenizer Metaspace: \"replacement\" must be one character");
  }
  PrependScheme scheme = PrependScheme::kAlways;
  if (name == "first") {
    scheme = PrependScheme::kFirst;
  } else if (name == "never") {
    scheme = PrependScheme::kNever;
  } else if (name != "always") {
    return CorruptTokenizer(
        "pre_tokenizer Metaspace: \"prepend_scheme\" must be always, first or never");
  }
  // `tokenizers` refuses this too. Files of before prepend_scheme have add_prefix_space alone.
  if (!prefix && section.contains("prepend_scheme") && scheme != PrependScheme::kNever) {
    return CorruptTokenizer(
        "pre_tokenizer Metaspace: add_prefix_space false contradicts its prepend_scheme");
  }
  if (!prefix) scheme = PrependScheme::kNever;
  return std::make_unique<MetaspaceStep>(std::move(replacement), scheme, split);
}

// Appends all steps of a section, Sequences unfolded.
absl::Status Flatten(const json& section, std::vector<const json*>* out) {
  FTD_ASSIGN_OR_RETURN(const std::string type, TypeOf(section, "pre_tokenizer"));
  if (type != "Sequence") {
    out->push_back(&section);
    return absl::OkStatus();
  }
  FTD_ASSIGN_OR_RETURN(const json* steps,
                       ArrayField(section, "pretokenizers", "pre_tokenizer Sequence"));
  for (const json& step : *steps) FTD_RETURN_IF_ERROR(Flatten(step, out));
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<PreTokenizer>> ParseStep(const json& section, bool to_letters) {
  FTD_ASSIGN_OR_RETURN(const std::string type, TypeOf(section, "pre_tokenizer"));
  if (type == "Split") return ParseSplit(section);
  if (type == "ByteLevel") return ParseByteLevel(section, to_letters);
  if (type == "Metaspace") return ParseMetaspace(section);
  if (type == "Digits") {
    FTD_ASSIGN_OR_RETURN(const bool individual,
                         BoolFieldOr(section, "individual_digits", false, "pre_tokenizer Digits"));
    return std::make_unique<DigitsStep>(individual);
  }
  return UnsupportedTokenizer(Concat("the pre_tokenizer ", type, " is not supported"));
}

}  // namespace

absl::StatusOr<PreTokenizers> PreTokenizers::Parse(const json& section, bool model_takes_bytes) {
  PreTokenizers parsed;
  if (section.is_null()) return parsed;
  std::vector<const json*> steps;
  FTD_RETURN_IF_ERROR(Flatten(section, &steps));
  for (const json* step : steps) {
    // Only the last step's output goes to the model; an earlier ByteLevel has to give letters to
    // the next step's pattern.
    const bool last = step == steps.back();
    FTD_ASSIGN_OR_RETURN(std::unique_ptr<PreTokenizer> parsed_step,
                         ParseStep(*step, !(last && model_takes_bytes)));
    parsed.steps_.push_back(std::move(parsed_step));
  }
  return parsed;
}

bool PreTokenizers::EndsWithByteLevel(const json& section) {
  std::vector<const json*> steps;
  return Flatten(section, &steps).ok() && !steps.empty() &&
         TypeOf(*steps.back(), "").value() == "ByteLevel";
}

// Depth first: a part may be a view of a string that its step holds only during the call of the
// sink.
void PreTokenizers::Run(size_t step, const Piece& piece, RegexScratch& scratch,
                        absl::FunctionRef<void(const Piece&)> sink) const {
  if (piece.text.empty()) return;
  if (step == steps_.size()) return sink(piece);
  steps_[step]->Split(piece, scratch,
                      [&](const Piece& part) { Run(step + 1, part, scratch, sink); });
}

}  // namespace ftd

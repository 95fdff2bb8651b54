#include "lib/gguf/pre_tokenizers.h"

#include <optional>
#include <vector>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/json.h"

namespace ftd::gguf {
namespace {

using nlohmann::json;

// Regexes of Split steps; each matches every character, so that what lies between matches is
// nothing.
constexpr char kLlama3[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// cl100k_base, of Phi-4 and OLMo 2: the same words in another spelling.
constexpr char kCl100k[] =
    R"('(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+)";
constexpr char kQwen2[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kQwen35[] =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kTekken[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
constexpr char kGpt4o[] =
    R"([^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

// The steps before the bytes: one of the regexes, or these words for what is not a Split.
constexpr char kWords[] = "words of GPT-2";  // a ByteLevel with use_regex
constexpr char kDigits[] = "single digits";

struct PreTokenizerRow {
  std::string_view pre;
  std::vector<std::string_view> steps;
  std::optional<bool> ignore_merges;  // of the model section; none: either
};

// The first row that fits counts. llama.cpp has more names than ways: it has one for each model
// whose tokenizer somebody looked at.
const std::vector<PreTokenizerRow>& Rows() {
  static const auto* rows = new std::vector<PreTokenizerRow>{
      {"gpt-2", {kWords}, false},     {"smollm", {kDigits, kWords}, false},
      {"llama-bpe", {kLlama3}, true}, {"llama-bpe", {kCl100k}, true},
      {"dbrx", {kLlama3}, false},     {"dbrx", {kCl100k}, false},
      {"qwen2", {kQwen2}, {}},        {"qwen35", {kQwen35}, {}},
      {"tekken", {kTekken}, {}},      {"gpt-4o", {kGpt4o}, {}},
  };
  return *rows;
}

absl::Status UnsupportedSection(std::string_view section, const json& value) {
  return Error(Reason::kModelUnsupported, Concat("llama.cpp has no name for the ", section,
                                                 " of tokenizer.json: ", value.dump(),
                                                 "; keep the model in Hugging Face's format"));
}

std::string TypeOf(const json& section) {
  const json* type = FindField(section, "type");
  return type != nullptr && type->is_string() ? type->get<std::string>() : std::string();
}

// The parts of a Sequence, or the section alone; none for null.
std::vector<json> PartsOf(const json& section, const char* name) {
  if (section.is_null()) return {};
  if (TypeOf(section) != "Sequence") return {section};
  const json* parts = FindField(section, name);
  return parts != nullptr && parts->is_array() ? parts->get<std::vector<json>>()
                                               : std::vector<json>();
}

// The step as Rows() spells it; "" for a step without effect, nothing for an unknown one.
std::optional<std::string> StepOf(const json& part) {
  const std::string type = TypeOf(part);
  if (type == "ByteLevel") {
    if (part.value("add_prefix_space", false)) return std::nullopt;
    return part.value("use_regex", true) ? kWords : "";
  }
  if (type == "Digits" && part.value("individual_digits", false)) return kDigits;
  if (type != "Split") return std::nullopt;
  const json* pattern = FindField(part, "pattern");
  const json* regex = pattern != nullptr ? FindField(*pattern, "Regex") : nullptr;
  const bool invert = part.value("invert", false);
  const std::string behavior = part.value("behavior", "");
  const bool keeps_matches = invert ? behavior == "Removed" : behavior == "Isolated";
  if (regex == nullptr || !regex->is_string() || !keeps_matches) return std::nullopt;
  return regex->get<std::string>();
}

absl::StatusOr<TokenizerKind> FindBytePreTokenizer(const json& section, const json& model) {
  std::vector<std::string> steps;
  for (const json& part : PartsOf(section, "pretokenizers")) {
    const std::optional<std::string> step = StepOf(part);
    if (!step.has_value()) return UnsupportedSection("pre_tokenizer", section);
    if (!step->empty()) steps.push_back(*step);
  }
  const json* field = FindField(model, "ignore_merges");
  const bool ignore_merges = field != nullptr && *field == true;
  for (const PreTokenizerRow& row : Rows()) {
    const bool same = std::equal(steps.begin(), steps.end(), row.steps.begin(), row.steps.end());
    if (same && row.ignore_merges.value_or(ignore_merges) == ignore_merges)
      return TokenizerKind{false, row.pre};
  }
  return UnsupportedSection("pre_tokenizer", section);
}

// SentencePiece's way: spaces become ▁, which may also be put before a text. Older files say it in
// the normalizer, newer ones in a Metaspace; Gemma's cut at spaces that the normalizer left none
// of.
absl::StatusOr<TokenizerKind> FindSentencePiece(const json& normalizer, const json& section) {
  TokenizerKind kind{true, "default"};
  bool replaces = false;
  for (const json& part : PartsOf(normalizer, "normalizers")) {
    const bool prepends = TypeOf(part) == "Prepend" && part.value("prepend", "") == "▁";
    const bool is_replace = TypeOf(part) == "Replace" &&
                            part.value("pattern", json()) == json{{"String", " "}} &&
                            part.value("content", "") == "▁";
    if (!prepends && !is_replace) return UnsupportedSection("normalizer", normalizer);
    kind.puts_space_before |= prepends;
    replaces |= is_replace;
  }
  for (const json& part : PartsOf(section, "pretokenizers")) {
    const bool is_metaspace = TypeOf(part) == "Metaspace" && part.value("replacement", "▁") == "▁";
    const bool cuts_at_spaces = TypeOf(part) == "Split" && replaces &&
                                part.value("pattern", json()) == json{{"String", " "}};
    if (!is_metaspace && !cuts_at_spaces) return UnsupportedSection("pre_tokenizer", section);
    kind.puts_space_before |= is_metaspace && part.value("prepend_scheme", "always") != "never";
    kind.only_at_start |= kind.puts_space_before && is_metaspace;
    replaces |= is_metaspace;
  }
  return replaces ? absl::StatusOr<TokenizerKind>(kind)
                  : UnsupportedSection("normalizer", normalizer);
}

}  // namespace

absl::StatusOr<TokenizerKind> FindTokenizerKind(const json& document) {
  const json none;
  const auto section = [&](const char* name) -> const json& {
    const json* field = FindField(document, name);
    return field != nullptr ? *field : none;
  };
  const json& model = section("model");
  const json* fallback = FindField(model, "byte_fallback");
  if (fallback != nullptr && *fallback == true)
    return FindSentencePiece(section("normalizer"), section("pre_tokenizer"));
  for (const json& part : PartsOf(section("normalizer"), "normalizers")) {
    if (TypeOf(part) != "NFC") return UnsupportedSection("normalizer", section("normalizer"));
  }
  return FindBytePreTokenizer(section("pre_tokenizer"), model);
}

}  // namespace ftd::gguf

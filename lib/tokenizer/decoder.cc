#include "lib/tokenizer/decoder.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/str_join.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"
#include "lib/tokenizer/byte_level.h"
#include "lib/tokenizer/json_fields.h"
#include "lib/tokenizer/regex/regex.h"

namespace ftd {
namespace {

using nlohmann::json;
using Tokens = std::vector<std::string>;

// Joins all tokens and turns letters into bytes. A token with a letter outside the byte alphabet,
// as an added token may have, stands for itself.
class ByteLevelDecoder : public Decoder {
 public:
  void Apply(Tokens* tokens) const override {
    std::string bytes;
    for (const std::string& token : *tokens) bytes.append(AlphabetToBytes(token).value_or(token));
    *tokens = {RepairUtf8(bytes)};
  }
};

// Turns ▁ into spaces. In the first token it is dropped wherever it stands, as `tokenizers` does,
// since the encoder had put one in front.
class MetaspaceDecoder : public Decoder {
 public:
  MetaspaceDecoder(std::string replacement, bool prepends)
      : replacement_(std::move(replacement)), prepends_(prepends) {}
  void Apply(Tokens* tokens) const override {
    for (size_t i = 0; i < tokens->size(); ++i) {
      std::string& token = (*tokens)[i];
      const std::string_view space = i == 0 && prepends_ ? "" : " ";
      std::string out;
      for (size_t pos = 0; pos < token.size();) {
        if (token.compare(pos, replacement_.size(), replacement_) == 0) {
          out.append(space);
          pos += replacement_.size();
        } else {
          out.push_back(token[pos++]);
        }
      }
      token = std::move(out);
    }
  }

 private:
  const std::string replacement_;
  const bool prepends_;
};

class ReplaceDecoder : public Decoder {
 public:
  ReplaceDecoder(Regex pattern, std::string content)
      : pattern_(std::move(pattern)), content_(std::move(content)) {}
  void Apply(Tokens* tokens) const override {
    RegexScratch scratch;
    for (std::string& token : *tokens) {
      std::string out;
      pattern_.ForEachSpan(token, scratch, [&](Span span) {
        out.append(span.is_match ? content_ : token.substr(span.begin, span.end - span.begin));
      });
      token = std::move(out);
    }
  }

 private:
  const Regex pattern_;
  const std::string content_;
};

// Turns <0xE2><0x82><0xAC> into what the bytes spell, or one U+FFFD a byte if they spell nothing.
class ByteFallbackDecoder : public Decoder {
 public:
  void Apply(Tokens* tokens) const override {
    Tokens out;
    std::string bytes;
    // Bytes are collected over tokens: a character's bytes are usually several tokens.
    const auto flush = [&] {
      if (bytes.empty()) return;
      if (IsValidUtf8(bytes)) {
        out.push_back(bytes);
      } else {
        out.insert(out.end(), bytes.size(), "\xEF\xBF\xBD");
      }
      bytes.clear();
    };
    for (std::string& token : *tokens) {
      if (const auto byte = ByteOf(token); byte.has_value()) {
        bytes.push_back(*byte);
        continue;
      }
      flush();
      out.push_back(std::move(token));
    }
    flush();
    *tokens = std::move(out);
  }

 private:
  static std::optional<char> ByteOf(const std::string& token) {
    const auto digit = [&](size_t i) {
      return absl::ascii_isxdigit(static_cast<unsigned char>(token[i]));
    };
    if (token.size() != 6 || token.compare(0, 3, "<0x") != 0 || token[5] != '>' || !digit(3) ||
        !digit(4)) {
      return std::nullopt;
    }
    return static_cast<char>(std::stoi(token.substr(3, 2), nullptr, 16));
  }
};

// The decoders after it see one token.
class FuseDecoder : public Decoder {
 public:
  void Apply(Tokens* tokens) const override { *tokens = {absl::StrJoin(*tokens, "")}; }
};

// Strips up to `start` and `stop` copies of a character from the ends of each token.
class StripDecoder : public Decoder {
 public:
  StripDecoder(std::string content, uint64_t start, uint64_t stop)
      : content_(std::move(content)), start_(start), stop_(stop) {}
  void Apply(Tokens* tokens) const override {
    for (std::string& token : *tokens) {
      size_t begin = 0;
      for (uint64_t i = 0; i < start_ && token.compare(begin, content_.size(), content_) == 0;
           ++i) {
        begin += content_.size();
      }
      size_t end = token.size();
      for (uint64_t i = 0; i < stop_ && end >= begin + content_.size(); ++i) {
        if (token.compare(end - content_.size(), content_.size(), content_) != 0) break;
        end -= content_.size();
      }
      token = token.substr(begin, end - begin);
    }
  }

 private:
  const std::string content_;
  const uint64_t start_, stop_;
};

absl::Status ParseDecoder(const json& section, Decoders* out);

absl::Status ParseReplace(const json& section, Decoders* out) {
  FTD_ASSIGN_OR_RETURN(const PatternField pattern, PatternOf(section, "decoder Replace"));
  FTD_ASSIGN_OR_RETURN(std::string content, StringField(section, "content", "decoder Replace"));
  Regex regex = Regex::Literal(pattern.text);
  // A Literal needs no PCRE2 and is the usual case ("▁").
  if (pattern.is_regex) {
    FTD_ASSIGN_OR_RETURN(regex, Regex::Compile(pattern.text));
  }
  out->push_back(std::make_unique<ReplaceDecoder>(std::move(regex), std::move(content)));
  return absl::OkStatus();
}

absl::Status ParseStrip(const json& section, Decoders* out) {
  FTD_ASSIGN_OR_RETURN(std::string content, StringField(section, "content", "decoder Strip"));
  const json start = section.value("start", json()), stop = section.value("stop", json());
  if (content.empty() || !start.is_number_unsigned() || !stop.is_number_unsigned()) {
    return CorruptTokenizer(
        R"(decoder Strip: needs a character "content", and counts "start" and "stop")");
  }
  out->push_back(std::make_unique<StripDecoder>(std::move(content), start.get<uint64_t>(),
                                                stop.get<uint64_t>()));
  return absl::OkStatus();
}

// Files of before prepend_scheme have add_prefix_space alone; "always" is what they meant.
absl::Status ParseMetaspace(const json& section, Decoders* out) {
  constexpr std::string_view kWhat = "decoder Metaspace";
  FTD_ASSIGN_OR_RETURN(std::string replacement, StringField(section, "replacement", kWhat));
  FTD_ASSIGN_OR_RETURN(const bool prefix, BoolFieldOr(section, "add_prefix_space", true, kWhat));
  FTD_ASSIGN_OR_RETURN(const std::string scheme,
                       StringFieldOr(section, "prepend_scheme", "always", kWhat));
  if (replacement.empty())
    return CorruptTokenizer("decoder Metaspace: \"replacement\" must be one character");
  out->push_back(
      std::make_unique<MetaspaceDecoder>(std::move(replacement), prefix && scheme != "never"));
  return absl::OkStatus();
}

// Flattens a Sequence into its steps, in order.
absl::Status ParseDecoder(const json& section, Decoders* out) {
  FTD_ASSIGN_OR_RETURN(const std::string type, TypeOf(section, "decoder"));
  if (type == "Sequence") {
    FTD_ASSIGN_OR_RETURN(const json* steps, ArrayField(section, "decoders", "decoder Sequence"));
    for (const json& step : *steps) FTD_RETURN_IF_ERROR(ParseDecoder(step, out));
    return absl::OkStatus();
  }
  if (type == "Replace") return ParseReplace(section, out);
  if (type == "Strip") return ParseStrip(section, out);
  if (type == "Metaspace") return ParseMetaspace(section, out);
  if (type == "ByteLevel") {
    out->push_back(std::make_unique<ByteLevelDecoder>());
  } else if (type == "ByteFallback") {
    out->push_back(std::make_unique<ByteFallbackDecoder>());
  } else if (type == "Fuse") {
    out->push_back(std::make_unique<FuseDecoder>());
  } else {
    return UnsupportedTokenizer(Concat("the decoder ", type, " is not supported"));
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Decoders> ParseDecoders(const json& section) {
  Decoders steps;
  if (!section.is_null()) FTD_RETURN_IF_ERROR(ParseDecoder(section, &steps));
  return steps;
}

}  // namespace ftd

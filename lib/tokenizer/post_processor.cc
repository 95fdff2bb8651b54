#include "lib/tokenizer/post_processor.h"

#include <utility>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/tokenizer/json_fields.h"
#include "lib/tokenizer/model_json.h"

namespace ftd {
namespace {

using nlohmann::json;

constexpr std::string_view kTemplate = "post_processor TemplateProcessing";

// Appends the ids of a special token of the template: {"SpecialToken": {"id": "<s>", "type_id":
// 0}}, looked up in "special_tokens".
absl::Status AppendSpecial(const json& section, const json& piece, std::vector<int32_t>* out) {
  FTD_ASSIGN_OR_RETURN(const std::string name, StringField(piece, "id", kTemplate));
  const auto tokens = section.find("special_tokens");
  if (tokens == section.end() || !tokens->is_object() || !tokens->contains(name)) {
    return CorruptTokenizer(Concat(kTemplate, ": special_tokens lacks \"", name, "\""));
  }
  FTD_ASSIGN_OR_RETURN(const json* ids, ArrayField((*tokens)[name], "ids", kTemplate));
  for (const json& id : *ids) {
    if (!id.is_number_unsigned() || id.get<uint64_t>() > kMaxTokenId) {
      return CorruptTokenizer(Concat(kTemplate, ": the ids of \"", name, "\" must be token ids"));
    }
    out->push_back(id.get<int32_t>());
  }
  return absl::OkStatus();
}

// {"single": [{"SpecialToken": …}, {"Sequence": {"id": "A", …}}], …}. "pair" is not read: ftd never
// encodes two sequences together.
absl::Status ParseTemplate(const json& section, std::vector<int32_t>* out) {
  out->clear();
  FTD_ASSIGN_OR_RETURN(const json* pieces, ArrayField(section, "single", kTemplate));
  for (const json& piece : *pieces) {
    if (piece.is_object() && piece.contains("Sequence")) {
      FTD_ASSIGN_OR_RETURN(const std::string id, StringField(piece["Sequence"], "id", kTemplate));
      if (id != "A")
        return UnsupportedTokenizer(Concat(kTemplate, " with $", id, " in a single sequence"));
      out->push_back(PostProcessor::kSequence);
    } else if (piece.is_object() && piece.contains("SpecialToken")) {
      FTD_RETURN_IF_ERROR(AppendSpecial(section, piece["SpecialToken"], out));
    } else {
      return CorruptTokenizer(
          Concat(kTemplate, ": \"single\" must hold Sequence and SpecialToken pieces"));
    }
  }
  return absl::OkStatus();
}

absl::Status ParseInto(const json& section, bool* has_template, PostProcessor* out) {
  FTD_ASSIGN_OR_RETURN(const std::string type, TypeOf(section, "post_processor"));
  // It only trims spaces off offsets; to ftd a token's spaces belong to it (Tokenizer::EncodeAt).
  if (type == "ByteLevel") return absl::OkStatus();
  if (type == "Sequence") {
    FTD_ASSIGN_OR_RETURN(const json* steps,
                         ArrayField(section, "processors", "post_processor Sequence"));
    for (const json& step : *steps) FTD_RETURN_IF_ERROR(ParseInto(step, has_template, out));
    return absl::OkStatus();
  }
  if (type != "TemplateProcessing") {
    return UnsupportedTokenizer(Concat("the post_processor ", type, " is not supported"));
  }
  if (std::exchange(*has_template, true)) {
    return UnsupportedTokenizer("two TemplateProcessing post_processors are not supported");
  }
  return ParseTemplate(section, &out->single);
}

}  // namespace

absl::StatusOr<PostProcessor> PostProcessor::Parse(const json& section) {
  PostProcessor processor;
  bool has_template = false;
  if (!section.is_null()) FTD_RETURN_IF_ERROR(ParseInto(section, &has_template, &processor));
  return processor;
}

// Most templates are <s> and the sequence; without special tokens the sequence is moved, not
// copied.
std::vector<int32_t> PostProcessor::Apply(std::vector<int32_t> sequence) const {
  if (single.size() == 1 && single[0] == kSequence) return sequence;
  std::vector<int32_t> out;
  out.reserve(sequence.size() + single.size());
  for (const int32_t id : single) {
    if (id == kSequence) {
      out.insert(out.end(), sequence.begin(), sequence.end());
    } else {
      out.push_back(id);
    }
  }
  return out;
}

}  // namespace ftd

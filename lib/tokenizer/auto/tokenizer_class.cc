#include "lib/tokenizer/auto/tokenizer_class.h"

#include <algorithm>
#include <array>

#include "absl/strings/str_join.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/json.h"

namespace ftd {
namespace {

using nlohmann::json;

// What Python's `settings.get(name)` is as a condition; absent gives `fallback`.
bool Truthy(const json& settings, const char* name, bool fallback) {
  const json* value = FindField(settings, name);
  if (value == nullptr) return fallback;
  if (value->is_boolean()) return value->get<bool>();
  if (value->is_number()) return value->get<double>() != 0;
  return !value->empty();
}

json ByteLevelSection(bool add_prefix_space, bool use_regex) {
  return {{"type", "ByteLevel"},
          {"add_prefix_space", add_prefix_space},
          {"trim_offsets", true},
          {"use_regex", use_regex}};
}

json Sequence(const char* name, std::initializer_list<json> steps) {
  return {{"type", "Sequence"}, {name, json(steps)}};
}

json ReplaceSection(const char* from, const char* to) {
  return {{"type", "Replace"}, {"pattern", {{"String", from}}}, {"content", to}};
}

// SentencePiece's spaces back, bytes together, and without the space that stood in front.
json SpmDecoder(bool strip) {
  json decoder = Sequence(
      "decoders", {ReplaceSection("▁", " "), {{"type", "ByteFallback"}}, {{"type", "Fuse"}}});
  if (strip) {
    decoder["decoders"].push_back(
        {{"type", "Strip"}, {"content", " "}, {"start", 1U}, {"stop", 0U}});
  }
  return decoder;
}

json Llama(const json& settings) {
  const bool prefix = Truthy(settings, "add_prefix_space", true);
  const bool legacy = Truthy(settings, "legacy", false);
  return {{"normalizer", nullptr},
          {"pre_tokenizer",
           {{"type", "Metaspace"},
            {"replacement", "▁"},
            {"prepend_scheme", !prefix  ? "never"
                               : legacy ? "always"
                                        : "first"},
            {"split", false}}},
          {"decoder", SpmDecoder(prefix)},
          {"model", {{"fuse_unk", true}, {"byte_fallback", true}}}};
}

// The pattern differs from the one of Qwen's own tokenizer.json in nothing but its spelling.
constexpr const char* kQwen2Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";
// Marks belong to words.
constexpr const char* kQwen35Pattern =
    R"((?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+)";

json Qwen(const json& settings, const char* pattern) {
  return {{"normalizer", {{"type", "NFC"}}},
          {"pre_tokenizer",
           Sequence("pretokenizers",
                    {{{"type", "Split"},
                      {"pattern", {{"Regex", pattern}}},
                      {"behavior", "Isolated"},
                      {"invert", false}},
                     ByteLevelSection(Truthy(settings, "add_prefix_space", false), false)})},
          {"decoder", ByteLevelSection(true, true)},
          {"model", {{"fuse_unk", false}, {"byte_fallback", false}}}};
}

json Qwen2(const json& settings) { return Qwen(settings, kQwen2Pattern); }
json Qwen35(const json& settings) { return Qwen(settings, kQwen35Pattern); }

json Gpt2(const json& settings) {
  return {{"normalizer", nullptr},
          {"pre_tokenizer", ByteLevelSection(Truthy(settings, "add_prefix_space", false), true)},
          {"decoder", ByteLevelSection(true, true)},
          {"model", {{"fuse_unk", false}}}};
}

json GptNeoX(const json& settings) {
  json parts = Gpt2(settings);
  parts["normalizer"] = {{"type", "NFC"}};
  return parts;
}

json Cohere(const json& settings) {
  json parts = GptNeoX(settings);
  parts["pre_tokenizer"] = Sequence(
      "pretokenizers", {{{"type", "Digits"}, {"individual_digits", true}}, parts["pre_tokenizer"]});
  return parts;
}

json Gemma(const json& settings) {
  std::string unk_token = "<unk>";
  if (const json* unk = FindField(settings, "unk_token")) {
    unk_token = unk->is_string() ? unk->get<std::string>() : unk->value("content", "");
  } else if (settings.contains("unk_token")) {
    unk_token = "None";  // what Python makes of null
  }
  return {{"normalizer", ReplaceSection(" ", "▁")},
          {"pre_tokenizer",
           {{"type", "Split"},
            {"pattern", {{"String", " "}}},
            {"behavior", "MergedWithPrevious"},
            {"invert", false}}},
          {"decoder", SpmDecoder(false)},
          {"model", {{"fuse_unk", true}, {"byte_fallback", true}, {"unk_token", unk_token}}}};
}

constexpr std::string_view kEndOfText =
    R"({"unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>"})";
constexpr std::string_view kQwenTokens =
    R"({"unk_token": "<|endoftext|>", "eos_token": "<|endoftext|>", "pad_token": "<|endoftext|>"})";

using Again = TokenizerClass::AddsAgain;
constexpr TokenizerClass kBackend{.name = "TokenizersBackend"};
constexpr std::array<TokenizerClass, 7> kRebuilding = {{
    {"CohereTokenizer", Cohere,
     R"({"unk_token": "<UNK>", "bos_token": "<BOS_TOKEN>", "eos_token": "<|END_OF_TURN_TOKEN|>", "pad_token": "<PAD>",
         "cls_token": "<CLS>", "sep_token": "<SEP>", "mask_token": "<MASK_TOKEN>"})",
     Again::kWithFlags},
    {"GPT2Tokenizer", Gpt2, kEndOfText},
    {"GPTNeoXTokenizer", GptNeoX,
     R"({"unk_token": "<|endoftext|>", "bos_token": "<|endoftext|>", "eos_token": "<|endoftext|>",
         "pad_token": "<|padding|>"})",
     Again::kNo, /*keeps_post_processor=*/false},
    {"GemmaTokenizer", Gemma,
     R"({"unk_token": "<unk>", "bos_token": "<bos>", "eos_token": "<eos>", "pad_token": "<pad>", "mask_token": "<mask>"})"},
    {"LlamaTokenizer", Llama, R"({"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"})"},
    {"Qwen2Tokenizer", Qwen2, kQwenTokens, Again::kPlain},
    {"Qwen3_5Tokenizer", Qwen35, kQwenTokens},
}};

// The other classes of transformers that do not take tokenizer.json as it is. Any name that is
// neither here nor above is TokenizersBackend.
constexpr std::string_view kUnsupported[] = {"AlbertTokenizer",
                                             "BartTokenizer",
                                             "BarthezTokenizer",
                                             "BasicTokenizer",
                                             "BartphoTokenizer",
                                             "BertGenerationTokenizer",
                                             "BertJapaneseTokenizer",
                                             "BertTokenizer",
                                             "BertweetTokenizer",
                                             "BigBirdTokenizer",
                                             "BioGptTokenizer",
                                             "BlenderbotSmallTokenizer",
                                             "BlenderbotTokenizer",
                                             "ByT5Tokenizer",
                                             "CLIPTokenizer",
                                             "CTRLTokenizer",
                                             "CamembertTokenizer",
                                             "CanineTokenizer",
                                             "CharacterTokenizer",
                                             "ClvpTokenizer",
                                             "CodeGenTokenizer",
                                             "CodeLlamaTokenizer",
                                             "CpmAntTokenizer",
                                             "CpmTokenizer",
                                             "DPRContextEncoderTokenizer",
                                             "DPRQuestionEncoderTokenizer",
                                             "DPRReaderTokenizer",
                                             "DebertaTokenizer",
                                             "DebertaV2Tokenizer",
                                             "DiaTokenizer",
                                             "DistilBertTokenizer",
                                             "EsmTokenizer",
                                             "EsmcTokenizer",
                                             "FSMTTokenizer",
                                             "FastSpeech2ConformerTokenizer",
                                             "FlaubertTokenizer",
                                             "FunnelTokenizer",
                                             "GPTNeoXJapaneseTokenizer",
                                             "GPTSw3Tokenizer",
                                             "HerbertTokenizer",
                                             "LEDTokenizer",
                                             "LasrTokenizer",
                                             "LayoutLMv2Tokenizer",
                                             "LayoutLMv3Tokenizer",
                                             "LayoutXLMTokenizer",
                                             "LukeTokenizer",
                                             "LxmertTokenizer",
                                             "M2M100Tokenizer",
                                             "MBart50Tokenizer",
                                             "MBartTokenizer",
                                             "MLukeTokenizer",
                                             "MPNetTokenizer",
                                             "MecabTokenizer",
                                             "MarianTokenizer",
                                             "MarkupLMTokenizer",
                                             "MgpstrTokenizer",
                                             "MistralCommonBackend",
                                             "MobileBertTokenizer",
                                             "MvpTokenizer",
                                             "MyT5Tokenizer",
                                             "NllbTokenizer",
                                             "NougatTokenizer",
                                             "OpenAIGPTTokenizer",
                                             "PLBartTokenizer",
                                             "PegasusTokenizer",
                                             "PerceiverTokenizer",
                                             "PhobertTokenizer",
                                             "Pop2PianoTokenizer",
                                             "ProphetNetTokenizer",
                                             "RagTokenizer",
                                             "ReformerTokenizer",
                                             "RemBertTokenizer",
                                             "RoCBertTokenizer",
                                             "RoFormerTokenizer",
                                             "RobertaTokenizer",
                                             "SeamlessM4TTokenizer",
                                             "SentencePieceBackend",
                                             "Siglip2Tokenizer",
                                             "SiglipTokenizer",
                                             "Speech2TextTokenizer",
                                             "SpeechT5Tokenizer",
                                             "SplinterTokenizer",
                                             "SqueezeBertTokenizer",
                                             "T5Tokenizer",
                                             "TapasTokenizer",
                                             "Tipsv2Tokenizer",
                                             "UdopTokenizer",
                                             "VideoPrismTokenizer",
                                             "VitsTokenizer",
                                             "Wav2Vec2CTCTokenizer",
                                             "Wav2Vec2PhonemeCTCTokenizer",
                                             "WhisperTokenizer",
                                             "WordpieceTokenizer",
                                             "XGLMTokenizer",
                                             "XLMRobertaTokenizer",
                                             "XLMTokenizer",
                                             "XLNetTokenizer"};

// The class registered for a model_type. Where a repository names another, that one holds, unless
// it is known to be wrong.
struct Registered {
  std::string_view model_type;
  std::string_view tokenizer_class;
  bool repositories_are_wrong = false;
};
constexpr Registered kRegistered[] = {
    {"cohere", "CohereTokenizer"},
    {"cohere2", "CohereTokenizer"},
    {"gemma", "GemmaTokenizer"},
    {"gemma2", "GemmaTokenizer"},
    {"gemma3", "GemmaTokenizer"},
    {"gemma3_text", "GemmaTokenizer"},
    {"gemma3n", "GemmaTokenizer"},
    {"gemma3n_text", "GemmaTokenizer"},
    {"glm", "TokenizersBackend"},
    {"glm4", "TokenizersBackend"},
    {"gpt2", "GPT2Tokenizer"},
    {"gpt_neox", "GPTNeoXTokenizer"},
    {"granite", "TokenizersBackend"},
    {"granitemoe", "TokenizersBackend"},
    {"ministral", "TokenizersBackend"},
    {"ministral3", "TokenizersBackend"},
    {"mistral", "TokenizersBackend"},
    {"mistral3", "TokenizersBackend"},
    {"mixtral", "TokenizersBackend"},
    {"nemotron", "TokenizersBackend", true},
    {"olmo", "GPTNeoXTokenizer"},
    {"olmo2", "TokenizersBackend"},
    {"olmo3", "TokenizersBackend"},
    {"phi", "GPT2Tokenizer"},
    {"phi3", "TokenizersBackend", true},
    {"phimoe", "TokenizersBackend", true},
    {"qwen2", "Qwen2Tokenizer", true},
    {"qwen2_moe", "Qwen2Tokenizer"},
    {"qwen3", "Qwen2Tokenizer"},
    {"qwen3_5", "Qwen3_5Tokenizer", true},
    {"qwen3_5_text", "Qwen3_5Tokenizer"},
    {"qwen3_moe", "Qwen2Tokenizer"},
    {"qwen3_next", "Qwen2Tokenizer"},
    {"stablelm", "TokenizersBackend"},
    {"starcoder2", "GPT2Tokenizer"},
};

const Registered* FindRegistered(std::string_view model_type) {
  const auto* found =
      std::find_if(std::begin(kRegistered), std::end(kRegistered),
                   [&](const Registered& row) { return row.model_type == model_type; });
  return found == std::end(kRegistered) ? nullptr : found;
}

const TokenizerClass* FindRebuilding(std::string_view name) {
  const auto* found = std::find_if(kRebuilding.begin(), kRebuilding.end(),
                                   [&](const TokenizerClass& row) { return row.name == name; });
  return found == kRebuilding.end() ? nullptr : found;
}

bool IsUnsupported(std::string_view name) {
  return std::find(std::begin(kUnsupported), std::end(kUnsupported), name) !=
         std::end(kUnsupported);
}

// Names of old releases end in "Fast".
std::string_view WithoutFast(std::string_view name) {
  constexpr std::string_view kFast = "Fast";
  if (name.ends_with(kFast)) name.remove_suffix(kFast.size());
  return name;
}

absl::StatusOr<TokenizerClass> Named(std::string_view name) {
  name = WithoutFast(name);
  if (const TokenizerClass* found = FindRebuilding(name)) return *found;
  if (!IsUnsupported(name)) return kBackend;
  return Error(
      Reason::kModelUnsupported,
      Concat("the tokenizer class ", name,
             " is not supported; ftd has those that take tokenizer.json as it is and ",
             absl::StrJoin(kRebuilding, ", ", [](std::string* out, const TokenizerClass& row) {
               out->append(row.name);
             })));
}

}  // namespace

absl::StatusOr<TokenizerClass> ChooseTokenizerClass(const TokenizerClassHints& hints) {
  const std::string& named =
      hints.tokenizer_class.empty() ? hints.config_class : hints.tokenizer_class;
  const std::string_view name = WithoutFast(named);
  const Registered* registered = FindRegistered(hints.model_type);
  if (hints.has_remote_code) {
    // transformers runs a repository's code only when it is told to, and a class of its own comes
    // first.
    if (FindRebuilding(name) == nullptr && !IsUnsupported(name) && registered == nullptr) {
      return Error(
          Reason::kModelUnsupported,
          "tokenizer_config.json's auto_map names code of the model's own, which ftd does not run");
    }
  } else if (!named.empty()) {
    const bool wrong = registered != nullptr && registered->repositories_are_wrong;
    // Llama 3's kind of file under the name of Llama 2's class.
    if (name == "LlamaTokenizer" && hints.says_byte_level && !wrong) return kBackend;
    if (registered != nullptr && registered->tokenizer_class != name) {
      if (registered->tokenizer_class == kBackend.name) return kBackend;
      return Named(wrong ? registered->tokenizer_class : name);
    }
  }
  if (!named.empty()) return Named(name);
  return registered == nullptr ? kBackend : Named(registered->tokenizer_class);
}

}  // namespace ftd

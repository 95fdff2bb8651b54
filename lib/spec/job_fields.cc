#include "lib/spec/job_fields.h"

#include <algorithm>
#include <cmath>
#include <type_traits>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/strings/str_split.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/spec/sample_prompts.h"

namespace ftd {
namespace {

using Plain = JobField::Plain;
using Json = nlohmann::json;

constexpr double kMostSteps = 1e12;

// Ranges, as rows name them. FromTo fills the integer and the real bounds, so a row need not repeat
// which kind its member is.
constexpr Range FromTo(int64_t low, int64_t high) {
  return {low, high, static_cast<double>(low), static_cast<double>(high)};
}
constexpr Range Above(double least) { return {.least = least, .above = true}; }
constexpr Range AboveTo(double least, double most) {
  return {.least = least, .most = most, .above = true};
}
constexpr Range FromBelow(double least, double most) {
  return {.least = least, .most = most, .below = true};
}
constexpr Range StepsOrShare() { return {.least = 0, .most = kMostSteps, .of = "steps"}; }
constexpr Range RowsOrShare() { return {.least = 0, .most = kMostSteps, .of = "rows"}; }
constexpr Range Seeds() {  // room for what is added to it
  return {std::numeric_limits<int64_t>::min() / 2, std::numeric_limits<int64_t>::max() / 2};
}

// In the order of the enums' values, which index these lists (ValueText).
constexpr const char* kModes[] = {"lora", "full", "qlora"};
constexpr const char* kObjectives[] = {"sft"};
constexpr const char* kDtypes[] = {"float32", "bfloat16", "float16"};
constexpr const char* kPrecisions[] = {"fp32_master", "hf_parity"};
constexpr const char* kSchedulers[] = {"linear", "cosine", "cosine_with_min_lr", "constant",
                                       "constant_with_warmup"};
constexpr const char* kCheckpointings[] = {"auto", "on", "off"};
constexpr const char* kOnDivergences[] = {"warn", "stop", "rollback"};

constexpr EnumWords kModeWords = {kModes}, kObjectiveWords = {kObjectives}, kDtypeWords = {kDtypes},
                    kPrecisionWords = {kPrecisions}, kSchedulerWords = {kSchedulers},
                    kCheckpointingWords = {kCheckpointings}, kOnDivergenceWords = {kOnDivergences};

// These decide which rows a resolved spec has (JobField::when).
bool IsFull(const TrainSpec& spec) { return spec.mode == Mode::kFull; }
bool HasMinimum(const TrainSpec& spec) {
  return spec.lr_schedule.type == LrSchedule::Type::kCosineWithMinLr;
}
bool HasTokensOfBatch(const TrainSpec& spec) { return spec.batch_tokens > 0; }
bool HasRowsOfBatch(const TrainSpec& spec) { return spec.batch_tokens == 0; }
bool HasAdapter(const TrainSpec& spec) { return spec.mode != Mode::kFull; }
bool HasSamples(const TrainSpec& spec) { return !spec.sample_prompts.empty(); }

// The rows of `lora` are in a spec with an adapter only.
constexpr JobField OfAdapter(JobField field) {
  field.when = HasAdapter;
  return field;
}

// A lambda without captures decays to a plain function, which a row can hold; a pointer to member
// could not reach into `lora` or `lr_schedule`.
#define BINDING(member)            \
  +[](TrainSpec & spec) -> auto& { \
    return spec.member;            \
  }
#define FIELD(Type, name, Default, ...) \
  JobField{.path = #name, .binding = BINDING(name), __VA_ARGS__},
#define LORA_FIELD(Type, name, Default, ...) \
  OfAdapter({.path = "lora." #name, .binding = BINDING(lora.name), __VA_ARGS__}),
#define BOUND_FIELD(name, member, ...) \
  JobField{.path = name, .binding = BINDING(member), __VA_ARGS__},
#define PLAIN_FIELD(name, ...) JobField{.path = name, __VA_OPT__(.binding = {}, ) __VA_ARGS__},

const JobField kTable[] = {
#include "lib/spec/job_fields.def"
};

// Returns a number as people write it: 1e-4 rather than 0.0001 or 1e-04.
std::string ShortNumber(double number) {
  if (number == 0 || std::abs(number) >= 1e-3) return absl::StrCat(number);
  return absl::StrReplaceAll(absl::StrCat(number == 1e-4 ? "1e-04" : absl::StrCat(number)),
                             {{"e-0", "e-"}});
}

// Returns a value as people read it; empty for a list, whose row has a `shown_default`.
template <typename T>
std::string ValueText(const JobField& field, const T& value) {
  if constexpr (std::is_same_v<T, bool>) {
    return value ? "on" : "off";
  } else if constexpr (std::is_same_v<T, double>) {
    return ShortNumber(value);
  } else if constexpr (std::is_same_v<T, std::string>) {
    return value;
  } else if constexpr (std::is_integral_v<T>) {
    return absl::StrCat(value);
  } else if constexpr (std::is_enum_v<T>) {
    const int index = static_cast<int>(value) - field.words.first;
    return index < 0 || field.words.words.empty() ? ""
                                                  : field.words.words[static_cast<size_t>(index)];
  }
  return "";
}

}  // namespace

bool Range::Takes(double number) const {
  if (!std::isfinite(number) || number < least || number > most) return false;
  if ((above && number == least) || (below && number == most)) return false;
  // Below 1 the number is a share; from 1 on it counts things, so it must be whole.
  return of == nullptr || number < 1 || number == std::floor(number);
}

std::string Range::Words(bool integer) const {
  if (of != nullptr) return absl::StrCat("of ", of, ", or a share of all ", of, " below 1");
  if (integer) return absl::StrCat("from ", low, " to ", high);
  if (std::isinf(most)) return absl::StrCat(above ? "greater than " : "of at least ", least);
  return absl::StrCat(above ? "greater than " : "from ", least, above ? " and at most " : " to ",
                      below ? "below " : "", most);
}

absl::Span<const JobField> JobFields() { return kTable; }

const JobField* FindField(std::string_view path) {
  for (const JobField& field : JobFields())
    if (path == field.path) return &field;
  return nullptr;
}

Json::json_pointer PointerTo(const JobField& field) {
  return Json::json_pointer("/" + absl::StrReplaceAll(field.path, {{".", "/"}}));
}

// The defaults are those of the struct's members: a default-made TrainSpec is asked for them, and
// no text repeats one.
std::string DefaultText(const JobField& field) {
  if (field.shown_default != nullptr || field.required) {
    return field.shown_default == nullptr ? "" : field.shown_default;
  }
  const std::string text = std::visit(
      [&field](const auto& ref) -> std::string {
        if constexpr (std::is_same_v<std::decay_t<decltype(ref)>, std::monostate>) {
          return "";
        } else {
          TrainSpec defaults;
          return ValueText(field, ref(defaults));
        }
      },
      field.binding);
  return field.for_full ? absl::StrCat(text, "; full ", ShortNumber(*field.for_full)) : text;
}

std::string FlagHelp(const JobField& field) {
  const std::string text = DefaultText(field);
  return absl::StrCat(field.help, text.empty() ? "" : absl::StrCat(" [", text, "]"));
}

bool MeansAuto(const JobField& field, const std::string& text) {
  return field.automatic != nullptr && absl::EqualsIgnoreCase(text, kAutoWord);
}

std::string WordMeant(const JobField& field, const std::string& text) {
  constexpr std::pair<const char*, const char*> kOtherDtypes[] = {
      {"bf16", "bfloat16"}, {"fp16", "float16"}, {"fp32", "float32"}};
  std::string word = absl::AsciiStrToLower(text);
  if (field.path == std::string_view("dtype")) {
    for (const auto& [said, meant] : kOtherDtypes)
      if (word == said) word = meant;
  }
  const auto same = [&](const char* known) {
    return absl::StrReplaceAll(known, {{"-", "_"}}) == absl::StrReplaceAll(word, {{"-", "_"}});
  };
  const auto found = std::find_if(field.words.words.begin(), field.words.words.end(), same);
  return found == field.words.words.end() ? text : *found;
}

absl::Span<const Shorthand> Shorthands() {
  static constexpr Shorthand kShorthands[] = {{"bf16", "dtype", "bfloat16", nullptr},
                                              {"fp16", "dtype", "float16", nullptr},
                                              {"load-in-4bit", "mode", "qlora", "LORA"}};
  return kShorthands;
}

std::string ShorthandHelp(const Shorthand& shorthand) {
  return absl::StrCat("The same as --", shorthand.path, " ", shorthand.word);
}

// On the wire gradient_checkpointing is an optional bool: null stands for auto.
nlohmann::ordered_json ValueJson(const JobField& field, const TrainSpec& spec) {
  return std::visit(
      [&](const auto& ref) -> nlohmann::ordered_json {
        using R = std::decay_t<decltype(ref)>;
        if constexpr (std::is_same_v<R, std::monostate>) {
          return nullptr;
        } else {
          const auto& value = ref(const_cast<TrainSpec&>(spec));  // only read
          using T = std::decay_t<decltype(value)>;
          if constexpr (std::is_same_v<T, Checkpointing>) {
            if (value == Checkpointing::kAuto) return nullptr;
            return value == Checkpointing::kOn;
          } else if constexpr (std::is_enum_v<T>) {
            return EnumWord(ValueText(field, value));
          } else {
            return value;
          }
        }
      },
      field.binding);
}

// The kind follows from the member's type, and from `plain` where there is no member.
FlagKind KindOfFlag(const JobField& field) {
  if (std::holds_alternative<JobField::Ref<Checkpointing>>(field.binding))
    return FlagKind::kAutoSwitch;
  if (!field.words.words.empty()) return FlagKind::kWord;
  const bool integer = std::holds_alternative<JobField::Ref<int32_t>>(field.binding) ||
                       std::holds_alternative<JobField::Ref<int64_t>>(field.binding);
  if (integer || field.plain == Plain::kInteger) return FlagKind::kInteger;
  if (std::holds_alternative<JobField::Ref<double>>(field.binding) || field.plain == Plain::kReal)
    return FlagKind::kReal;
  return std::holds_alternative<JobField::Ref<bool>>(field.binding) ? FlagKind::kSwitch
                                                                    : FlagKind::kText;
}

void GivenFields::SetShorthand(const Shorthand& shorthand) {
  const std::string word = EnumWord(shorthand.word);
  const std::string before = json_.value(shorthand.path, word);
  if (before != word && (shorthand.replaces == nullptr || before != shorthand.replaces)) {
    status_.Update(
        Error(Reason::kUsage, absl::StrCat("--", shorthand.flag, " contradicts --", shorthand.path,
                                           " ", absl::AsciiStrToLower(before))));
  }
  json_[shorthand.path] = word;
}

void GivenFields::Set(const JobField& field, Json value) {
  json_[PointerTo(field)] = std::move(value);
}

absl::StatusOr<std::string> GivenFields::Text() const {
  FTD_RETURN_IF_ERROR(status_);
  try {
    return json_.dump();
  } catch (const Json::exception&) {  // strings of a command line are any bytes
    return Error(Reason::kUsage, "the value of a flag is not UTF-8");
  }
}

// A number stays text here: proto3's JSON takes numbers as strings, and the resolver reports one
// that does not read together with every other bad field.
void GivenFields::SetText(const JobField& field, const std::string& text) {
  if (KindOfFlag(field) == FlagKind::kAutoSwitch) {
    const auto& words = field.words.words;
    return Set(field, text == words[0] ? Json(nullptr) : Json(text == words[1]));
  }
  if (MeansAuto(field, text)) return Set(*FindField(field.automatic), true);
  if (!field.words.words.empty()) return Set(field, EnumWord(text));
  if (field.plain == Plain::kTemplate) return Set(field, UnescapedTemplate(text));
  // Of errors only the first one is kept; Text returns it.
  if (field.plain == Plain::kChatTemplate) {
    const auto chat_template = ChatTemplateMeant(text);
    status_.Update(Prefixed(chat_template.status(), Concat("--", field.flag, ": ")));
    if (chat_template.ok()) Set(field, *chat_template);
    return;
  }
  if (field.plain == Plain::kPrompts) {
    const auto prompts = ReadSamplePrompts(text);
    status_.Update(Prefixed(prompts.status(), Concat("--", field.flag, ": ")));
    if (prompts.ok()) Set(field, *prompts);
    return;
  }
  if (field.plain == Plain::kColumns) {
    const auto columns = ParseColumnMap(text);
    status_.Update(columns.status());
    if (columns.ok()) Set(field, *columns);
    return;
  }
  if (!std::holds_alternative<JobField::Ref<std::vector<std::string>>>(field.binding))
    return Set(field, text);
  Json list = Json::array();
  for (absl::string_view name : absl::StrSplit(text, ',', absl::SkipEmpty()))
    list.push_back(std::string(absl::StripAsciiWhitespace(name)));
  Set(field, std::move(list));
}

}  // namespace ftd

// A job's fields as data. Everything that checks, prints, documents or takes them walks this table.
#pragma once

#include <cstdint>
#include <limits>
#include <optional>
#include <string>
#include <string_view>
#include <variant>
#include <vector>

#include "absl/types/span.h"
#include "lib/spec/train_spec.h"
#include "nlohmann/json.hpp"

namespace ftd {

// The numbers that a field takes.
struct Range {
  int64_t low = std::numeric_limits<int64_t>::min(), high = std::numeric_limits<int64_t>::max();
  double least = -std::numeric_limits<double>::infinity();
  double most = std::numeric_limits<double>::infinity();
  bool above = false, below = false;  // `least`, `most` themselves are not taken
  // Not null: of these things a number, or below 1 a share of all.
  const char* of = nullptr;

  bool Takes(int64_t number) const { return number >= low && number <= high; }
  bool Takes(double number) const;
  // "from 0 to 1", "greater than 0": what follows "a number" in a message.
  std::string Words(bool integer) const;
};

// The values of an enum, by the words that people write. On the wire they are upper case with
// underscores.
struct EnumWords {
  absl::Span<const char* const> words;  // of the values `first`, `first` + 1, …
  int first = 0;                        // values below it are "not given"
};

struct JobField {
  // Leads to the member of a spec that the field fills.
  template <typename T>
  using Ref = T& (*)(TrainSpec&);
  using Binding = std::variant<std::monostate, Ref<bool>, Ref<int32_t>, Ref<int64_t>, Ref<double>,
                               Ref<std::string>, Ref<std::vector<std::string>>, Ref<Mode>,
                               Ref<Objective>, Ref<Dtype>, Ref<Precision>, Ref<Checkpointing>,
                               Ref<LrSchedule::Type>, Ref<OnDivergence>>;
  // The way in which the flag of a field without a binding is read.
  enum class Plain {
    kNone,
    kText,
    kInteger,
    kReal,
    kWord,
    kColumns,
    kTemplate,
    kChatTemplate,
    kPrompts
  };

  const char* path;               // "lora.rank": in ftd.v1.JobSpec and its JSON
  Binding binding = {};           // none: code of its own reads the field
  const char* group = "";         // heading in a help text
  EnumWords words = {};           // of an enum
  const char* flag = nullptr;     // "lora-rank"; null: there is no flag
  const char* aliases = nullptr;  // other spellings of it: "epochs,num-train-epochs"
  const char* type = nullptr;     // what the help and completions call the flag's value
  Plain plain = Plain::kNone;
  bool required = false;
  Range range = {};
  std::optional<double> for_full = std::nullopt;  // the default of mode full, where it differs
  bool (*when)(const TrainSpec&) = nullptr;       // whether a resolved spec has it; null: always
  const char* help = "";                          // for people, without the default
  const char* shown_default = nullptr;            // where the value alone would not tell
  const char* label = nullptr;                    // what `ftctl show` always has, by this name
  // Of an integer: the switch that the word "auto" sets in its place.
  const char* automatic = nullptr;
};

// What the fields that have an `automatic` take in place of a number.
inline constexpr char kAutoWord[] = "auto";

// Returns whether the text is that word, in any case, and the field takes it.
bool MeansAuto(const JobField& field, const std::string& text);

// All of them, in the order of job_fields.def.
absl::Span<const JobField> JobFields();

// Returns the field with this path; null: there is none.
const JobField* FindField(std::string_view path);

// Returns the place of the field's value in a JobSpec's JSON.
nlohmann::json::json_pointer PointerTo(const JobField& field);

// Returns the field's default as people read it: "8", "on", "float32"; empty when it has none.
std::string DefaultText(const JobField& field);

// Returns the help of a flag: "Rank [8]".
std::string FlagHelp(const JobField& field);

// Returns the field's value in a spec as JSON of the wire. Requires: it has a binding.
nlohmann::ordered_json ValueJson(const JobField& field, const TrainSpec& spec);

// The ways in which a field's flag is read.
enum class FlagKind { kText, kInteger, kReal, kSwitch, kWord, kAutoSwitch };
FlagKind KindOfFlag(const JobField& field);

// Returns the word of a field with words that `text` means: in any case, with _ or -, and of a
// dtype also bf16, fp16 and fp32. Anything else comes back as it is.
std::string WordMeant(const JobField& field, const std::string& text);

// A switch that other tools have for one value of a field.
struct Shorthand {
  const char* flag;      // "bf16"
  const char* path;      // "dtype"
  const char* word;      // "bfloat16"
  const char* replaces;  // what the field may have been given beside; null: nothing else
};
absl::Span<const Shorthand> Shorthands();

// Returns the help of a shorthand: "The same as --dtype bfloat16".
std::string ShorthandHelp(const Shorthand& shorthand);

// The fields of a job that were given on a command line.
class GivenFields {
 public:
  // `value` is JSON of the wire.
  void Set(const JobField& field, nlohmann::json value);
  // The same from the text of its flag. A text that does not read is reported by Text.
  void SetText(const JobField& field, const std::string& text);
  // A shorthand that contradicts what the field was given is reported by Text. Call after Set.
  void SetShorthand(const Shorthand& shorthand);

  bool empty() const { return json_.empty(); }
  // A JobSpec in proto3 JSON, with what was given alone.
  const nlohmann::json& json() const { return json_; }
  // The same as text. INVALID_ARGUMENT USAGE for the first that did not read.
  absl::StatusOr<std::string> Text() const;

 private:
  nlohmann::json json_ = nlohmann::json::object();
  absl::Status status_;
};

}  // namespace ftd

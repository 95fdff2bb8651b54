#include "lib/data/chat_source.h"

#include <algorithm>
#include <memory>
#include <utility>

#include "absl/time/clock.h"
#include "absl/time/time.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/chat/template_source.h"

namespace ftd {

const absl::StatusOr<chat::ChatTemplate>& ChatSource::Get() const {
  std::call_once(loaded_, [this] { template_.emplace(Load()); });
  return *template_;
}

absl::StatusOr<chat::ChatTemplate> ChatSource::Load() const {
  std::unique_ptr<Tokenizer> loaded;
  const Tokenizer* tokenizer = tokenizer_;
  if (tokenizer == nullptr) {
    FTD_ASSIGN_OR_RETURN(loaded, Tokenizer::Load(model_dir_));
    tokenizer = loaded.get();
  }
  return chat::ChatTemplate::Load(
      model_dir_, {.source = rules_.chat_template,
                   .special_tokens = tokenizer->SpecialTokens(),
                   .date = ParseDay(rules_.chat_template_date).value_or(absl::CivilDay())});
}

bool PrintsDate(const std::filesystem::path& model_dir, const ChatRules& rules) {
  if (!rules.chat_template.empty()) return chat::PrintsDate(rules.chat_template);
  const auto sources = chat::ReadTemplates(model_dir);
  return sources.ok() && std::any_of(sources->begin(), sources->end(), [](const auto& source) {
           return chat::PrintsDate(source.text);
         });
}

std::string Today() {
  return absl::FormatCivilTime(absl::ToCivilDay(absl::Now(), absl::LocalTimeZone()));
}

std::optional<absl::CivilDay> ParseDay(std::string_view text) {
  absl::CivilDay day;
  // A day that does not exist, such as 2026-02-30, does not come out as it went in.
  if (!absl::ParseCivilTime(ForAbseil(text), &day) || absl::FormatCivilTime(day) != ForAbseil(text))
    return std::nullopt;
  return day;
}

}  // namespace ftd

#include "lib/chat/turns.h"

#include <algorithm>
#include <optional>
#include <utility>

#include "lib/base/concat.h"
#include "lib/base/error.h"

namespace ftd::chat {
namespace {

using jinja::Visit;

absl::Status Unproved(size_t message, std::string_view why) {
  return absl::InvalidArgumentError(
      Concat("message ", message + 1, ": ", why,
             "; so it is not known which tokens are the answer's. Choose another chat template, "
             "one that marks answers by {% generation %}, or --train-on all"));
}

// Finds turns in one rendered conversation.
class TurnFinder {
 public:
  TurnFinder(const RenderedMessages& chat, const TurnStyle& style)
      : chat_(chat), style_(style), text_(chat.rendered.text) {
    for (const Visit& visit : chat.rendered.visits) {
      if (visit.end > visit.begin) visits_.push_back(visit);
    }
  }

  // The message that a generation block belongs to: the innermost iteration around it, or the one
  // before it, for what a template writes after its loop.
  std::optional<size_t> MessageOf(const jinja::Generation& block) const {
    const Visit* found = nullptr;
    for (const Visit& visit : visits_) {
      if (!IsAssistant(visit.watched)) continue;
      const bool around = visit.begin <= block.begin && block.end <= visit.end;
      const bool before = visit.end <= block.begin;
      const bool found_around = found != nullptr && found->end > block.begin;
      if (around && (!found_around || visit.begin >= found->begin)) found = &visit;
      if (before && !found_around && (found == nullptr || visit.end >= found->end)) found = &visit;
    }
    return found == nullptr ? std::nullopt : std::optional<size_t>(found->watched);
  }

  absl::StatusOr<std::vector<Span>> Find(size_t message) const {
    const Visit* own = nullptr;
    for (const Visit& visit : visits_) {
      if (visit.watched != message) continue;
      if (own != nullptr) return Unproved(message, "the chat template writes it in several places");
      own = &visit;
    }
    if (own == nullptr)
      return Unproved(message, "the chat template does not write it in a loop over the messages");
    if (!style_.header.has_value())
      return Unproved(message, "the chat template does not show what it writes before an answer");
    const std::optional<size_t> begin = BehindHeader(*own);
    if (!begin.has_value()) {
      return Unproved(message, Concat("it does not begin with \"", *style_.header,
                                      "\", by which the chat template prompts for an answer"));
    }
    size_t end = own->end;
    // Some templates end the whole conversation with EOS, after the loop.
    const bool is_last = message + 1 == chat_.messages.size();
    if (is_last && !style_.eos_token.empty() && text_.substr(end) == style_.eos_token)
      end = text_.size();
    end = BehindNextMark(text_.substr(own->begin, own->end - own->begin), end);
    FTD_ASSIGN_OR_RETURN(std::vector<Span> others, OthersIn(*own));
    return Without(std::move(others), {*begin, end});
  }

 private:
  bool IsAssistant(size_t message) const { return chat_.messages[message].role == "assistant"; }

  bool IsAnswerOfTool(size_t message) const {
    const std::string& role = chat_.messages[message].role;
    return role == "tool" || role == "function";
  }

  // Where a turn ends that has no end of its own. GLM's is the mark of whoever is next: it is what
  // the model stops at.
  size_t BehindNextMark(std::string_view own, size_t end) const {
    constexpr std::string_view kHeader = "<|assistant|>";
    constexpr std::string_view kMarks[] = {"<|user|>", "<|observation|>", "<|system|>"};
    own = own.substr(0, own.find_last_not_of(kSpace) + 1);
    if (style_.header != kHeader || (!style_.eos_token.empty() && own.ends_with(style_.eos_token)))
      return end;
    for (const std::string_view mark : kMarks) {
      if (text_.substr(end).starts_with(mark)) return end + mark.size();
    }
    return end;
  }

  // Where the answer begins within an iteration; nullopt when that cannot be told.
  std::optional<size_t> BehindHeader(const Visit& visit) const {
    const std::string_view own = text_.substr(visit.begin, visit.end - visit.begin);
    std::string_view header = *style_.header;
    if (own.starts_with(header)) return visit.begin + header.size();
    // A template may write the header at the end of the message before.
    if (text_.substr(0, visit.begin).ends_with(header)) return visit.begin;
    // It may put white space between messages.
    const size_t space = std::min(own.find_first_not_of(kSpace), own.size());
    header.remove_prefix(std::min(header.find_first_not_of(kSpace), header.size()));
    if (own.substr(space).starts_with(header)) return visit.begin + space + header.size();
    // Or leave it out where the model continues its turn: after its own words, or a tool's.
    const Visit* before = nullptr;
    for (const Visit& other : visits_) {
      if (other.end <= visit.begin && (before == nullptr || other.end >= before->end))
        before = &other;
    }
    const bool goes_on =
        before != nullptr && (IsAssistant(before->watched) || IsAnswerOfTool(before->watched));
    return goes_on ? std::optional<size_t>(visit.begin) : std::nullopt;
  }

  bool WroteNothing(size_t message) const {
    return std::none_of(visits_.begin(), visits_.end(),
                        [&](const Visit& visit) { return visit.watched == message; });
  }

  // What other messages have within this one's iteration, as the answers of tools that it called,
  // is not its own.
  absl::StatusOr<std::vector<Span>> OthersIn(const Visit& own) const {
    std::vector<Span> others;
    for (const Visit& visit : visits_) {
      const bool within = own.begin <= visit.begin && visit.end <= own.end;
      if (within && visit.watched != own.watched && !IsAssistant(visit.watched))
        others.push_back({visit.begin, visit.end});
    }
    // Answers that have no iteration of their own are looked for by their marks.
    std::vector<size_t> answers;
    for (size_t i = own.watched + 1; i < chat_.messages.size() && !IsAssistant(i); ++i) {
      if (IsAnswerOfTool(i) && WroteNothing(i)) answers.push_back(i);
    }
    const std::vector<Span> marked = MarkedAnswers(own);
    if (marked.size() < answers.size() && AreWritten(answers))
      return Unproved(own.watched, "the chat template writes the answers of tools into it");
    others.insert(others.end(), marked.begin(), marked.end());
    return others;
  }

  // Returns whether the text depends on what the messages say. Templates without tools leave their
  // answers out.
  bool AreWritten(const std::vector<size_t>& messages) const {
    std::vector<Message> changed = chat_.messages;
    for (const size_t i : messages) {
      std::vector<std::pair<jinja::Value, jinja::Value>> members = changed[i].value.Members();
      members.emplace_back(jinja::Value::String("content"), jinja::Value::String("another answer"));
      changed[i].value = jinja::Value::Dict(std::move(members));
    }
    const absl::StatusOr<jinja::Rendered> rendered = chat_.render(changed);
    return !rendered.ok() || rendered->text != text_;
  }

  // Gemma 4's answers of tools.
  std::vector<Span> MarkedAnswers(const Visit& own) const {
    constexpr std::string_view kHeader = "<|turn>model\n";
    constexpr std::string_view kOpen = "<|tool_response>", kClose = "<tool_response|>";
    if (style_.header != kHeader) return {};
    const std::string_view text = text_.substr(0, own.end);
    std::vector<Span> found;
    for (size_t at = text.find(kOpen, own.begin); at != std::string_view::npos;
         at = text.find(kOpen, found.back().end)) {
      const size_t close = text.find(kClose, at);
      if (close == std::string_view::npos) break;
      found.push_back({at, close + kClose.size()});
    }
    // A mark that is left open at the end asks for an answer that the conversation lacks.
    if (text.ends_with(kOpen)) found.push_back({text.size() - kOpen.size(), text.size()});
    return found;
  }

  const RenderedMessages& chat_;
  const TurnStyle& style_;
  const std::string_view text_;
  std::vector<Visit> visits_;  // that wrote something
};

// The turns that the template marks itself.
absl::StatusOr<std::vector<Span>> MarkedTurns(const RenderedMessages& chat,
                                              const TurnFinder& finder,
                                              const std::vector<bool>& wanted) {
  std::vector<Span> turns;
  bool all_wanted = true;
  std::optional<size_t> last;
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    if (chat.messages[i].role != "assistant") continue;
    all_wanted = all_wanted && wanted[i];
    last = i;
  }
  for (const jinja::Generation& block : chat.rendered.generations) {
    if (block.begin == block.end || !last.has_value()) continue;
    if (block.captured) {
      return Unproved(*last,
                      "the chat template has {% generation %} within a macro or another block that "
                      "keeps its output");
    }
    // Whose block it is matters only where some are not wanted.
    const std::optional<size_t> message = all_wanted ? last : finder.MessageOf(block);
    if (!message.has_value())
      return Unproved(*last, "it is not known which {% generation %} of the chat template is its");
    if (wanted[*message]) turns.push_back({block.begin, block.end});
  }
  return turns;
}

}  // namespace

absl::StatusOr<std::vector<Span>> FindTurns(const RenderedMessages& chat, const TurnStyle& style,
                                            const std::vector<bool>& wanted) {
  const TurnFinder finder(chat, style);
  if (style.marks_turns) return MarkedTurns(chat, finder, wanted);
  std::vector<Span> turns;
  for (size_t i = 0; i < chat.messages.size(); ++i) {
    if (!wanted[i]) continue;
    FTD_ASSIGN_OR_RETURN(const std::vector<Span> found, finder.Find(i));
    turns.insert(turns.end(), found.begin(), found.end());
  }
  return turns;
}

}  // namespace ftd::chat

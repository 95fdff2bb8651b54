#include "lib/generation/text_stream.h"

#include <algorithm>
#include <string_view>
#include <utility>

namespace ftd {
namespace {

constexpr std::string_view kReplacement =
    "\xEF\xBF\xBD";  // U+FFFD, of bytes that make no character
// Tokens of the prompt that the first word may depend on.
constexpr size_t kContext = 4;

// Returns the length of the longest end of `text` that a stop string begins with.
size_t PossibleStop(std::string_view text, const std::vector<std::string>& stops) {
  size_t longest = 0;
  for (const std::string& stop : stops) {
    for (size_t n = std::min(text.size(), stop.size() - 1); n > longest; --n)
      if (text.ends_with(std::string_view(stop).substr(0, n))) longest = n;
  }
  return longest;
}

}  // namespace

TextStream::TextStream(const Tokenizer& tokenizer, const std::vector<int32_t>& prompt,
                       std::vector<std::string> stops)
    : tokenizer_(tokenizer), stops_(std::move(stops)) {
  for (const auto& [name, text] : tokenizer.SpecialTokens())
    special_.push_back(tokenizer.TokenToId(text));
  std::sort(special_.begin(), special_.end());
  window_.assign(prompt.end() - static_cast<ptrdiff_t>(std::min(kContext, prompt.size())),
                 prompt.end());
  decoded_ = window_.size();
}

std::string TextStream::Add(int32_t token) {
  if (!std::binary_search(special_.begin(), special_.end(), token)) window_.push_back(token);
  Decode(/*all=*/false);
  return Release(/*all=*/false);
}

std::string TextStream::Finish() {
  if (stopped_) return {};
  Decode(/*all=*/true);
  return Release(/*all=*/true);
}

// A decoder looks at a token's neighbours, so the new text is that of the window without that of
// its beginning, which was complete.
void TextStream::Decode(bool all) {
  if (decoded_ == window_.size()) return;
  const std::string text = tokenizer_.Decode(window_);
  if (!all && text.ends_with(kReplacement)) return;
  const auto old_end = window_.begin() + static_cast<ptrdiff_t>(decoded_);
  const size_t old = tokenizer_.Decode({window_.begin(), old_end}).size();
  if (text.size() > old) held_ += text.substr(old);
  window_.erase(window_.begin(), old_end);
  decoded_ = window_.size();
}

std::string TextStream::Release(bool all) {
  size_t end = std::string::npos;
  for (const std::string& stop : stops_) end = std::min(end, held_.find(stop));
  if (end != std::string::npos) {
    stopped_ = true;
    held_.resize(end);
    return std::exchange(held_, {});
  }
  end = held_.size() - (all ? 0 : PossibleStop(held_, stops_));
  std::string certain = held_.substr(0, end);
  held_.erase(0, end);
  return certain;
}

}  // namespace ftd

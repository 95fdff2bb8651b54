#include "lib/chat/known_headers.h"

#include "lib/base/sha256.h"

namespace ftd::chat {
namespace {

struct Known {
  const char* sha256;  // of the template without white space at its end
  std::string_view header;
};

// tests/worker/data/chat_test.py compares each with the wheel of TRL.
constexpr Known kKnown[] = {
    // Qwen 2.5: the line break behind "assistant" is learned.
    {"55b2f4a26ac9ee719330a61a0c39d9e538b0e9322212f048326318cff4f8674a", "<|im_start|>assistant"},
    // gpt-oss and Muse Glimmer: an answer consists of several messages, and their headers name the
    // channel or the recipient; the first one is learned like the others.
    {"a4c9919cbbd4acdd51ccffe22da049264b1b73e59055fa58811a99efbd7c8146", ""},
    {"6cd0e94d9b489fdb9a000743791f20e7e52b62c1e5cbb66fcc91c6716595223a", ""},
    // DeepSeek V3 and the models distilled from R1.
    {"563b1ce7d61d50a9b4c7439a912a1116f095b712df5b5e4d3e1116049874eb64", ""},
    {"56a1447ad31926fdc21fb07e56e5642bd9c850c4f52d8c8af7bbe5f079a84f5f", ""},
};

}  // namespace

std::optional<std::string_view> KnownHeader(std::string_view source) {
  const std::string hash = Sha256Hex(source.substr(0, source.find_last_not_of(" \t\r\n") + 1));
  for (const Known& known : kKnown) {
    if (hash == known.sha256) return known.header;
  }
  return std::nullopt;
}

}  // namespace ftd::chat

#include "worker/records/sample_log.h"

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/utf8.h"
#include "lib/runlog/message_json.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

using OrderedJson = nlohmann::ordered_json;

constexpr size_t kShownPrompt = 100, kShownAnswer = 1000;  // bytes

// JSON escapes the controls of ASCII but for DEL; the others are C2 80 to C2 9F.
std::string Quoted(const std::string& text, size_t most) {
  const std::string quoted = OrderedJson(Shortened(text, most))
                                 .dump(-1, ' ', false, OrderedJson::error_handler_t::replace);
  std::string printable;
  for (size_t i = 0; i < quoted.size(); ++i) {
    const auto byte = static_cast<unsigned char>(quoted[i]);
    const bool pair = byte == 0xC2 && static_cast<unsigned char>(quoted[i + 1]) < 0xA0;
    printable.push_back(byte == 0x7F || pair ? '?' : quoted[i]);
    if (pair) ++i;
  }
  return printable;
}

}  // namespace

std::string SamplesJsonl(const std::vector<v1::GeneratedSample>& samples) {
  std::string lines;
  for (const v1::GeneratedSample& sample : samples) {
    absl::StrAppend(
        &lines, ToJson(sample).dump(-1, ' ', false, OrderedJson::error_handler_t::replace), "\n");
  }
  return lines;
}

absl::StatusOr<std::vector<v1::GeneratedSample>> ReadSamples(const std::filesystem::path& path) {
  std::vector<v1::GeneratedSample> samples;
  const auto text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return samples;
  FTD_RETURN_IF_ERROR(text.status());
  for (const absl::string_view line : absl::StrSplit(*text, '\n', absl::SkipEmpty())) {
    const absl::Status read = MessageFromJson({line.data(), line.size()}, UnknownFields::kIgnored,
                                              &samples.emplace_back());
    if (!read.ok()) {
      return Error(Reason::kCheckpointCorrupt,
                   absl::StrCat(path.string(), ": ", std::string(read.message())));
    }
  }
  return samples;
}

std::string SampleLine(const v1::GeneratedSample& sample) {
  return absl::StrCat("step ", sample.step(), ": sample ", sample.index(), ": ",
                      Quoted(sample.prompt(), kShownPrompt), " -> ",
                      Quoted(sample.text(), kShownAnswer));
}

}  // namespace ftd

#include "client/base/nvidia_driver.h"

#include <algorithm>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "absl/strings/strip.h"
#include "lib/base/file.h"

namespace ftd {
namespace {

// Returns whether the word is a version, such as "580.95.05".
bool IsVersion(absl::string_view word) {
  return absl::StrContains(word, '.') && std::all_of(word.begin(), word.end(), [](unsigned char c) {
           return absl::ascii_isdigit(c) || c == '.';
         });
}

}  // namespace

NvidiaDriver FindNvidiaDriver(const std::filesystem::path& root) {
  NvidiaDriver driver;
  // "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build …"
  const std::string text = ReadFile(root / "version").value_or("");
  for (absl::string_view word : absl::StrSplit(text, absl::ByAnyChar(" \n"), absl::SkipEmpty())) {
    if (!driver.version.empty() || !IsVersion(word)) continue;
    driver.version = std::string(word);
  }
  // /proc/driver/nvidia/gpus/BUS/information has a line "Model: …" for each GPU.
  std::vector<std::string> models;
  std::error_code error;
  for (const auto& gpu : std::filesystem::directory_iterator(root / "gpus", error)) {
    const std::string information = ReadFile(gpu.path() / "information").value_or("");
    for (absl::string_view line : absl::StrSplit(information, '\n')) {
      if (!absl::ConsumePrefix(&line, "Model:")) continue;
      models.emplace_back(absl::StripAsciiWhitespace(line));
    }
  }
  std::sort(models.begin(), models.end());
  driver.gpus = absl::StrJoin(models, ", ");
  return driver;
}

}  // namespace ftd

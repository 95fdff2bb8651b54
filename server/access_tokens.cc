#include "server/access_tokens.h"

#include <sys/stat.h>

#include <algorithm>
#include <cctype>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "artifacts/error.h"
#include "artifacts/file.h"
#include "artifacts/sha256.h"
#include "server/log.h"

namespace ftd {
namespace {

constexpr size_t kDigits = 64;

// The time does not depend on where they differ.
bool EqualInConstantTime(const std::string& a, const std::string& b) {
  if (a.size() != b.size()) return false;
  unsigned char difference = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    difference |= static_cast<unsigned char>(a[i]) ^ static_cast<unsigned char>(b[i]);
  }
  return difference == 0;
}

bool IsDigest(const std::string& text) {
  return text.size() == kDigits &&
         std::all_of(text.begin(), text.end(), [](unsigned char c) { return std::isxdigit(c); });
}

}  // namespace

absl::StatusOr<std::vector<AccessToken>> ParseAccessTokens(const std::string& text) {
  std::vector<AccessToken> tokens;
  int number = 0;
  for (const absl::string_view raw : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view line = absl::StripAsciiWhitespace(raw);
    if (line.empty() || absl::StartsWith(line, "#")) continue;
    const std::string digest = absl::AsciiStrToLower(line.substr(0, line.find(' ')));
    const std::string name(absl::StripAsciiWhitespace(line.substr(digest.size())));
    if (!IsDigest(digest) || name.empty()) {
      return Error(absl::StatusCode::kInvalidArgument, "CONFIG_INVALID",
                   absl::StrCat("line ", number, " is not a SHA-256 in ", kDigits,
                                " hexadecimal digits, two spaces and a name"));
    }
    tokens.push_back({digest, name});
  }
  return tokens;
}

void AccessTokens::Refresh() const {
  Version version;
  struct stat found;
  if (stat(file_.c_str(), &found) == 0) {
    version = {found.st_dev, found.st_ino, found.st_size, found.st_mtim.tv_sec,
               found.st_mtim.tv_nsec};
  }
  if (version == version_) return;
  version_ = version;
  tokens_.clear();
  if (version.size < 0) return;
  const auto text = ReadFile(file_);
  auto tokens = text.ok() ? ParseAccessTokens(*text) : text.status();
  if (tokens.ok()) {
    tokens_ = *std::move(tokens);
  } else {
    LogError("no token is accepted, because of ", file_.string(), ": ", tokens.status().message());
  }
}

std::optional<std::string> AccessTokens::Find(const std::string& secret) const {
  const std::string digest = Sha256Hex(secret);
  absl::MutexLock lock(&mutex_);
  Refresh();
  std::optional<std::string> name;
  for (const AccessToken& token : tokens_) {
    if (EqualInConstantTime(token.sha256, digest)) name = token.name;
  }
  return name;
}

}  // namespace ftd

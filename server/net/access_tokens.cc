#include "server/net/access_tokens.h"

#include <sys/random.h>
#include <sys/stat.h>

#include <algorithm>
#include <array>
#include <cctype>
#include <cerrno>

#include "absl/algorithm/container.h"
#include "absl/strings/ascii.h"
#include "absl/strings/escaping.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/str_join.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "server/host/log.h"

namespace ftd {
namespace {

constexpr char kRoleMark[] = "  role=";
constexpr size_t kDigits = 64, kMaxName = 63, kSecretBytes = 32;

// Compares two strings in a time that does not depend on where they differ.
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

// Returns whether a name may stand in the file: printable, without blanks, since it follows two
// spaces at the end of a line.
bool IsTokenName(const std::string& name) {
  return !name.empty() && name.size() <= kMaxName && name[0] != '.' && name[0] != '-' &&
         absl::c_all_of(name, [](unsigned char c) {
           return absl::ascii_isalnum(c) || absl::StrContains("._@-", std::string(1, c));
         });
}

// Nothing for the role that every token had before there were roles: an older ftd reads the line.
std::string Suffix(Role role) {
  return role == Role::kSubmit ? "" : absl::StrCat(kRoleMark, RoleName(role));
}

absl::StatusOr<std::string> NewSecret() {
  std::array<char, kSecretBytes> bytes{};
  if (getrandom(bytes.data(), bytes.size(), 0) != static_cast<ssize_t>(bytes.size())) {
    return ErrnoError(errno, "read random bytes");
  }
  // The prefix lets secret scanners recognise it.
  return "ftd_" + absl::WebSafeBase64Escape({bytes.data(), bytes.size()});
}

}  // namespace

// A line of sha256sum's format: DIGEST, two spaces, NAME; then perhaps two spaces and the role.
// Comments and empty lines are allowed, because operators edit the file.
absl::StatusOr<std::vector<AccessToken>> ParseAccessTokens(const std::string& text) {
  std::vector<AccessToken> tokens;
  int number = 0;
  for (const absl::string_view raw : absl::StrSplit(text, '\n')) {
    ++number;
    const absl::string_view line = absl::StripAsciiWhitespace(raw);
    if (line.empty() || absl::StartsWith(line, "#")) continue;
    const std::string digest = absl::AsciiStrToLower(line.substr(0, line.find(' ')));
    absl::string_view name = absl::StripAsciiWhitespace(line.substr(digest.size()));
    std::optional<Role> role = Role::kSubmit;
    if (const size_t mark = name.rfind(kRoleMark); mark != absl::string_view::npos) {
      role = RoleNamed(std::string(name.substr(mark + sizeof(kRoleMark) - 1)));
      name = absl::StripAsciiWhitespace(name.substr(0, mark));
    }
    if (!IsDigest(digest) || name.empty() || !role.has_value()) {
      return Error(Reason::kConfigInvalid, absl::StatusCode::kInvalidArgument,
                   absl::StrCat("line ", number, " is not a SHA-256 in ", kDigits,
                                " hexadecimal digits, two spaces and a name, perhaps with two "
                                "spaces and role=read, role=submit or role=admin after it"));
    }
    tokens.push_back({digest, std::string(name), *role});
  }
  return tokens;
}

// A file with an error is never rewritten: the change could destroy what an operator can still
// repair.
absl::StatusOr<std::string> AccessTokens::ReadChecked() const {
  const auto text = ReadFile(file_);
  if (absl::IsNotFound(text.status())) return "";
  const absl::Status good = text.ok() ? ParseAccessTokens(*text).status() : text.status();
  if (good.ok()) return *text;
  if (absl::IsUnavailable(good)) return good;
  return Error(Reason::kConfigInvalid, absl::StrCat(file_.string(), ": ", good.message()));
}

absl::Status AccessTokens::Write(const std::string& text) const {
  std::error_code ignored;  // a file that is not there yet has no other name
  // A link is followed, because the rename would replace it by a file.
  const std::filesystem::path real = std::filesystem::weakly_canonical(file_, ignored);
  const absl::Status written = WriteFileAtomically(real.empty() ? file_ : real, text);
  if (written.ok() || absl::IsUnavailable(written)) return written;
  return Error(Reason::kPathNotWritable,
               absl::StrCat("ftd cannot change its token_file: ", written.message(),
                            "; one that ftd may not write is changed by whoever wrote it"));
}

// In the order of the file.
absl::StatusOr<std::vector<AccessToken>> AccessTokens::Tokens() const {
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadChecked());
  return ParseAccessTokens(text);
}

absl::StatusOr<std::string> AccessTokens::Create(const std::string& name, Role role) {
  if (!IsTokenName(name)) {
    return FieldError({{"name", absl::StrCat("must be 1 to ", kMaxName,
                                             " letters, digits and . _ @ -, no . or - first")}});
  }
  // Read, changed and written under one lock; only the digest is stored, so the secret is shown
  // this once.
  absl::MutexLock lock(&changes_);
  FTD_ASSIGN_OR_RETURN(const std::vector<AccessToken> tokens, Tokens());
  if (absl::c_any_of(tokens, [&](const AccessToken& token) { return token.name == name; })) {
    return Error(Reason::kNameInUse,
                 absl::StrCat("there is a token \"", name, "\"; revoke it first"));
  }
  FTD_ASSIGN_OR_RETURN(const std::string secret, NewSecret());
  FTD_ASSIGN_OR_RETURN(std::string text, ReadChecked());
  if (!text.empty() && text.back() != '\n') text += '\n';
  FTD_RETURN_IF_ERROR(Write(absl::StrCat(text, Sha256Hex(secret), "  ", name, Suffix(role), "\n")));
  return secret;
}

// Several lines may have the name; all of them go.
absl::Status AccessTokens::Revoke(const std::string& name) {
  absl::MutexLock lock(&changes_);
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadChecked());
  // Lines are kept as they are, comments included.
  std::vector<absl::string_view> kept;
  bool found = false;
  for (const absl::string_view line : absl::StrSplit(text, '\n')) {
    const auto token = ParseAccessTokens(std::string(line));
    const bool named = !token->empty() && token->front().name == name;
    if (!named) kept.push_back(line);
    found = found || named;
  }
  if (found) return Write(absl::StrJoin(kept, "\n"));
  return Error(Reason::kTokenNotFound,
               absl::StrCat("there is no token \"", name, "\"; `ftctl token ls` lists them"));
}

// The file may be changed by hand or by configuration management: each look costs a stat, and a
// read only if something about it is different.
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
    // A damaged file lets nobody in, rather than those whom an older version let in.
    LogError("no token is accepted, because of ", file_.string(), ": ", tokens.status().message());
  }
}

std::optional<AccessToken> AccessTokens::Find(const std::string& secret) const {
  const std::string digest = Sha256Hex(secret);
  absl::MutexLock lock(&mutex_);
  Refresh();
  // All tokens are compared, whichever one fits.
  std::optional<AccessToken> found;
  for (const AccessToken& token : tokens_) {
    if (EqualInConstantTime(token.sha256, digest)) found = token;
  }
  return found;
}

}  // namespace ftd

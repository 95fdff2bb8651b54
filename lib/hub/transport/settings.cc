#include "lib/hub/transport/settings.h"

#include <sys/stat.h>

#include <cstdlib>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace ftd::hub {
namespace {

namespace fs = std::filesystem;

constexpr char kDefaultEndpoint[] = "https://huggingface.co";
constexpr char kCredential[] = "hf-token";

std::string Environment(const char* name) {
  const char* value = std::getenv(name);
  return value == nullptr ? "" : std::string(absl::StripAsciiWhitespace(value));
}

// Expands a leading ~ as the Python tools do.
fs::path Expanded(const std::string& path) {
  if (path == "~" || absl::StartsWith(path, "~/")) return Environment("HOME") + path.substr(1);
  return path;
}

fs::path FirstPath(const char* variable, const fs::path& otherwise) {
  const std::string value = Environment(variable);
  return value.empty() ? otherwise : Expanded(value);
}

bool IsTrue(const char* variable) {
  const std::string value = absl::AsciiStrToUpper(Environment(variable));
  return value == "1" || value == "ON" || value == "YES" || value == "TRUE";
}

}  // namespace

// The variables of huggingface_hub, in its order, so that both share one cache and one token.
Settings SettingsFromEnvironment() {
  const fs::path caches = FirstPath("XDG_CACHE_HOME", Expanded("~/.cache"));
  const fs::path home = FirstPath("HF_HOME", caches / "huggingface");
  Settings settings;
  settings.endpoint = Environment("HF_ENDPOINT");
  if (settings.endpoint.empty()) settings.endpoint = kDefaultEndpoint;
  while (absl::EndsWith(settings.endpoint, "/")) settings.endpoint.pop_back();
  settings.cache_dir = FirstPath("HF_HUB_CACHE", FirstPath("HUGGINGFACE_HUB_CACHE", home / "hub"));
  settings.token_path = FirstPath("HF_TOKEN_PATH", home / "token");
  settings.offline =
      IsTrue(Environment("HF_HUB_OFFLINE").empty() ? "TRANSFORMERS_OFFLINE" : "HF_HUB_OFFLINE");
  return settings;
}

// Environment, systemd's credentials (LoadCredential=hf-token), then the file that `login` writes.
std::string FindToken(const Settings& settings) {
  for (const char* variable : {"HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"}) {
    if (std::string token = Environment(variable); !token.empty()) return token;
  }
  const std::string credentials = Environment("CREDENTIALS_DIRECTORY");
  for (const fs::path& path :
       {credentials.empty() ? fs::path() : fs::path(credentials) / kCredential,
        settings.token_path}) {
    if (path.empty()) continue;
    const auto text = ReadFile(path);
    if (!text.ok()) continue;
    if (std::string token(absl::StripAsciiWhitespace(*text)); !token.empty()) return token;
  }
  return "";
}

absl::Status StoreToken(const Settings& settings, const std::string& token) {
  std::error_code error;
  fs::create_directories(settings.token_path.parent_path(), error);
  // Nobody may read it in the moment between its making and a chmod.
  const mode_t before = umask(077);
  absl::Status written = WriteFileAtomically(settings.token_path, token);
  umask(before);
  return written;
}

}  // namespace ftd::hub

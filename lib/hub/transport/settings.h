// The place of the hub and of its cache: the environment variables of Hugging Face's own tools.
#pragma once

#include <filesystem>
#include <string>

#include "absl/status/status.h"

namespace ftd::hub {

struct Settings {
  std::string endpoint;             // no slash at the end
  std::filesystem::path cache_dir;  // the hub's: models--…, datasets--…
  std::filesystem::path token_path;
  bool offline = false;
};

// HF_ENDPOINT; HF_HUB_CACHE, else $HF_HOME/hub; HF_TOKEN_PATH, else $HF_HOME/token; HF_HUB_OFFLINE
// else TRANSFORMERS_OFFLINE. HF_HOME is $XDG_CACHE_HOME/huggingface, else ~/.cache/huggingface, if
// unset.
Settings SettingsFromEnvironment();

// The token as of now, so that a login counts at once: HF_TOKEN, else the file hf-token in
// $CREDENTIALS_DIRECTORY (systemd's LoadCredential), else `settings.token_path`. Empty: none.
std::string FindToken(const Settings& settings);

// Stores a token where Hugging Face's tools look for it, readable by its owner alone.
absl::Status StoreToken(const Settings& settings, const std::string& token);

}  // namespace ftd::hub

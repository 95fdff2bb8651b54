// ftctl-hub: the part of `ftctl login`, `whoami` and `doctor` that talks to the hub, run once they
// have read their flags. The hub knows the user by the token.
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <csignal>
#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/text/text.h"
#include "lib/base/error.h"
#include "lib/cli/run_program.h"
#include "lib/hub/transport/http_client.h"
#include "lib/hub/transport/repo.h"
#include "lib/hub/transport/settings.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

// Switches the terminal's echo off for as long as it lives; Ctrl-C switches it on again. There can
// be one at a time.
class NoEcho {
 public:
  NoEcho() {
    if (tcgetattr(STDIN_FILENO, &saved_) != 0) return;
    // The handler needs the old settings, hence the static member. tcsetattr is async-signal-safe.
    std::signal(SIGINT, [](int number) {
      tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved_);
      std::signal(number, SIG_DFL);
      std::raise(number);
    });
    termios silent = saved_;
    silent.c_lflag &= ~static_cast<tcflag_t>(ECHO);
    is_set_ = tcsetattr(STDIN_FILENO, TCSAFLUSH, &silent) == 0;
  }
  ~NoEcho() {
    if (is_set_) tcsetattr(STDIN_FILENO, TCSAFLUSH, &saved_);
    std::signal(SIGINT, SIG_DFL);
  }
  NoEcho(const NoEcho&) = delete;
  NoEcho& operator=(const NoEcho&) = delete;

 private:
  static inline termios saved_{};
  bool is_set_ = false;
};

absl::StatusOr<std::string> ReadToken(const hub::Settings& settings) {
  std::string line;
  if (isatty(STDIN_FILENO) != 0) {
    const NoEcho silent;  // before the prompt: what is typed at it must not be lost
    std::cerr << "A token with the right to read is made at " << settings.endpoint
              << "/settings/tokens.\nToken (it is not shown): " << std::flush;
    std::getline(std::cin, line);
    std::cerr << std::endl;
  } else {
    std::getline(std::cin, line);
  }
  std::string token(absl::StripAsciiWhitespace(line));
  const bool plain = std::all_of(token.begin(), token.end(), [](char c) {
    return absl::ascii_isgraph(static_cast<unsigned char>(c));
  });
  if (token.empty() || !plain) {
    return Error(Reason::kTokenInvalid, absl::StatusCode::kInvalidArgument,
                 "no token was given; it is one line like hf_…, typed or piped in");
  }
  return token;
}

absl::Status CheckOnline(const hub::Settings& settings) {
  if (!settings.offline) return absl::OkStatus();
  return Error(Reason::kHubOffline, "HF_HUB_OFFLINE forbids to ask the hub; unset it");
}

absl::StatusOr<std::string> Login(const hub::Settings& settings) {
  FTD_RETURN_IF_ERROR(CheckOnline(settings));
  // The hub is asked before the token is stored: a mistyped one is not kept.
  FTD_ASSIGN_OR_RETURN(const std::string token, ReadToken(settings));
  hub::HttpClient http;
  FTD_ASSIGN_OR_RETURN(std::string user, hub::WhoAmI(http, settings, token));
  FTD_RETURN_IF_ERROR(hub::StoreToken(settings, token));
  return user;
}

// Any stored token counts, wherever it was found: the variables come before the file.
absl::StatusOr<std::string> WhoAmI(const hub::Settings& settings) {
  FTD_RETURN_IF_ERROR(CheckOnline(settings));
  const std::string token = hub::FindToken(settings);
  if (token.empty()) {
    return Error(Reason::kTokenInvalid, "no token is stored; `ftctl login` stores one");
  }
  hub::HttpClient http;
  return hub::WhoAmI(http, settings, token);
}

// Says where the token is, since ftd as a service looks elsewhere.
int RunLogin() {
  const hub::Settings settings = hub::SettingsFromEnvironment();
  const auto user = Login(settings);
  if (!user.ok()) return Fail(user.status());
  std::cerr << "You are " << Printable(*user) << " at " << settings.endpoint << "; the token is in "
            << settings.token_path.string()
            << ".\nAn ftd that runs as another user, or with another HF_HOME, needs its own."
            << std::endl;
  return kExitOk;
}

int RunWhoami() {
  const auto user = WhoAmI(hub::SettingsFromEnvironment());
  if (!user.ok()) return Fail(user.status());
  std::cout << Printable(*user) << std::endl;
  return kExitOk;
}

// Returns the state of the token for `ftctl doctor`: verdict, finding, remedy.
std::vector<std::string> JudgeToken(const hub::Settings& settings) {
  const std::string token = hub::FindToken(settings);
  const std::string stored = token.empty() ? "no token is stored" : "a token is stored";
  if (settings.offline) {
    return {"ok", absl::StrCat("HF_HUB_OFFLINE is set, so the hub is not asked; ", stored), ""};
  }
  if (token.empty()) {
    return {"warn", "no token is stored; gated models, such as Llama's, need one", "`ftctl login`"};
  }
  hub::HttpClient http;
  const auto user = hub::WhoAmI(http, settings, token);
  if (user.ok()) return {"ok", absl::StrCat(*user, " at ", settings.endpoint), ""};
  if (user.status().code() == absl::StatusCode::kUnauthenticated) {
    return {"fail", absl::StrCat(settings.endpoint, " does not know the token that is stored"),
            "make a new one there and `ftctl login`"};
  }
  return {"warn",
          absl::StrCat(stored, ", but ", settings.endpoint,
                       " does not answer: ", std::string(user.status().message())),
          "see to the network, HTTPS_PROXY or HF_ENDPOINT; without a hub set HF_HUB_OFFLINE=1"};
}

// One JSON object on stdout, which CheckHubToken reads.
int RunDoctor() {
  const std::vector<std::string> said = JudgeToken(hub::SettingsFromEnvironment());
  const nlohmann::json finding = {
      {"verdict", said[0]}, {"found", Printable(said[1])}, {"remedy", said[2]}};
  std::cout << finding.dump() << std::endl;
  return kExitOk;
}

}  // namespace
}  // namespace ftd

int main(int argc, char** argv) {
  return ftd::RunProgram("ftctl", argc, argv, [&] {
    const std::string verb = argc > 1 ? argv[1] : "";
    if (verb == "login") return ftd::RunLogin();
    if (verb == "whoami") return ftd::RunWhoami();
    if (verb == "doctor") return ftd::RunDoctor();
    std::cerr << "ftctl-hub is a part of ftctl: run `ftctl login` or `ftctl whoami`" << std::endl;
    return ftd::kExitUsage;
  });
}

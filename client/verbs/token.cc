// ftctl token: who may call ftd over TCP with a token.
#include <fcntl.h>
#include <unistd.h>

#include <iostream>
#include <string>
#include <vector>

#include "absl/strings/ascii.h"
#include "absl/strings/str_cat.h"
#include "client/base/exit_codes.h"
#include "client/command/flags.h"
#include "client/command/sub_verbs.h"
#include "client/rpc/connection.h"
#include "client/text/json_output.h"
#include "client/text/text.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/runlog/plain_json.h"

namespace ftd {
namespace {

using ftd::v1::FineTuning;

constexpr unsigned kOwnerOnly = 0600;

int ListTokens(const Invocation& call) {
  std::string output = "table";
  Flags flags(call, "token ls",
              "List the names of the tokens that let callers in over TCP, with their roles but "
              "submit. ftd keeps their SHA-256 "
              "alone. Works on ftd's machine only, as all of `ftctl token`.",
              "  ftctl token\n");
  flags.Choice("-o,--output", "Format [table]", {"table", "json", "yaml"}, &output);
  if (const auto code = flags.Parse()) return *code;
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto list =
      (*connection)->Call(&FineTuning::Stub::ListTokens, ftd::v1::ListTokensRequest());
  if (!list.ok()) return Fail(list.status());
  if (output != "table") {
    PrintStructured(ToJson(*list)["names"], output);
    return kExitOk;
  }
  for (int i = 0; i < list->names_size(); ++i) {
    std::cout << Printable(list->names(i));
    // An older ftd has no roles.
    const auto role = i < list->tokens_size() ? list->tokens(i).role() : v1::AccessToken::SUBMIT;
    if (role != v1::AccessToken::SUBMIT)
      std::cout << "  " << absl::AsciiStrToLower(v1::AccessToken::Role_Name(role));
    std::cout << "\n";
  }
  std::cout << std::flush;
  return kExitOk;
}

int Create(const Invocation& call) {
  ftd::v1::CreateTokenRequest request;
  std::string name, file, role = "submit";
  Flags flags(call, "token create",
              "Make a token and print it, this once. Who has it calls ftd over TCP with TLS, and "
              "owns the jobs that come with it, as token:NAME.",
              "  ftctl token create dashboard --file dashboard.token\n"
              "  ftctl --address box:7443 --tls-ca ca.crt --token-file dashboard.token ls\n");
  flags.Positional("NAME", "Letters, digits and . _ @ -", &name);
  flags.Text("--file", "Write it into this new file, mode 0600, instead of on stdout", &file,
             "FILE");
  flags.Choice("--role",
               "What it may do: read, submit jobs and change its own, or as an admin change "
               "everybody's [submit]",
               {"read", "submit", "admin"}, &role);
  if (const auto code = flags.Parse()) return *code;
  request.set_name(name);
  v1::AccessToken::Role wire = v1::AccessToken::ROLE_UNSPECIFIED;
  v1::AccessToken::Role_Parse(absl::AsciiStrToUpper(role), &wire);
  request.set_role(wire);
  // The file first: a token that could not be written would be lost, since ftd keeps only its
  // digest.
  Fd target;
  if (!file.empty()) {
    auto opened = OpenFile(file, O_WRONLY | O_CREAT | O_EXCL, kOwnerOnly);
    if (!opened.ok()) {
      return Fail(
          Error(Reason::kPathNotWritable, absl::StrCat("--file: ", opened.status().message())));
    }
    target = *std::move(opened);
  }
  const auto made = [&]() -> absl::StatusOr<ftd::v1::CreateTokenResponse> {
    FTD_ASSIGN_OR_RETURN(auto connection, Connect(flags.address()));
    return connection->Call(&FineTuning::Stub::CreateToken, request);
  }();
  absl::Status written = made.status();
  if (made.ok() && !file.empty()) written = WriteAll(target.get(), made->token() + "\n", file);
  if (!written.ok()) {
    // No token was made, or it is not in the file: an empty file would only mislead.
    if (!file.empty()) ::unlink(file.c_str());
    return Fail(written);
  }
  if (file.empty()) std::cout << Printable(made->token()) << std::endl;
  std::cerr << "Token " << Printable(name) << " is made"
            << (file.empty() ? "; it is not shown again" : absl::StrCat(", in ", Printable(file)))
            << ". It lets in from now on, until `ftctl token revoke " << Printable(name) << "`."
            << std::endl;
  return kExitOk;
}

// The server's file is changed; calls that run are not ended.
int Revoke(const Invocation& call) {
  ftd::v1::RevokeTokenRequest request;
  std::string name;
  Flags flags(call, "token revoke",
              "Revoke a token: from the next call on it is refused. A call that has begun is not "
              "affected.",
              "  ftctl token revoke dashboard\n");
  flags.Positional("NAME", "As `ftctl token ls` prints it", &name);
  if (const auto code = flags.Parse()) return *code;
  request.set_name(name);
  auto connection = Connect(flags.address());
  if (!connection.ok()) return Fail(connection.status());
  const auto gone = (*connection)->Call(&FineTuning::Stub::RevokeToken, request);
  if (!gone.ok()) return Fail(gone.status());
  std::cerr << "Token " << Printable(name) << " is revoked." << std::endl;
  return kExitOk;
}

constexpr Verb kTokenVerbs[] = {{"ls", "List their names", ListTokens},
                                {"create", "Make one and print it", Create},
                                {"revoke", "Take one back", Revoke}};

}  // namespace

int TokenVerb(const Invocation& call) { return RunSubVerb(call, "token", kTokenVerbs); }

}  // namespace ftd

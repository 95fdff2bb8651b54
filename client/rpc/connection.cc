#include "client/rpc/connection.h"

#include <grpcpp/grpcpp.h>
#include <sys/un.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <thread>
#include <utility>

#include "absl/strings/ascii.h"
#include "absl/strings/match.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"
#include "absl/strings/strip.h"
#include "client/base/environment.h"
#include "client/rpc/rpc_status.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/utf8.h"

namespace ftd {
namespace {

using std::chrono::milliseconds;
using std::chrono::system_clock;

// Where ftd listens by default, in the order of its own defaults (server/host/default_paths.cc).
std::vector<std::string> SocketCandidates() {
  std::vector<std::string> candidates;
  // systemd gives a list if a unit has several runtime directories.
  std::string runtime = Environment("RUNTIME_DIRECTORY");
  runtime = runtime.substr(0, runtime.find(':'));
  if (!runtime.empty()) candidates.push_back(runtime + "/ftd.sock");
  const std::string user = Environment("XDG_RUNTIME_DIR");
  if (!user.empty()) candidates.push_back(user + "/ftd/ftd.sock");
  candidates.emplace_back("/run/ftd/ftd.sock");
  return candidates;
}

// By the text alone: a name that resolves to loopback today may not tomorrow.
bool IsLoopback(const std::string& address) {
  for (const char* prefix : {"localhost:", "127.", "[::1]:", "ipv4:127.", "ipv6:[::1]:"}) {
    if (absl::StartsWith(address, prefix)) return absl::StrContains(address, ':');
  }
  return false;
}

bool IsHostPort(const std::string& address) {
  const size_t colon = address.rfind(':');
  int port = 0;
  return colon != std::string::npos && colon > 0 &&
         absl::SimpleAtoi(address.substr(colon + 1), &port) && port > 0 && port < 65536;
}

// Plain text only on this machine: prompts, data and tokens must not cross a network unencrypted.
absl::StatusOr<std::string> CheckedAddress(const std::string& address, bool tls) {
  if (absl::StartsWith(address, "/")) return CheckedAddress("unix:" + address, tls);
  constexpr size_t kLongestPath = sizeof(sockaddr_un::sun_path) - 1;
  if (absl::StartsWith(address, "unix:") && address.size() - 5 > kLongestPath) {
    return Error(Reason::kUsage, absl::StrCat("address '", Shortened(address, 200),
                                              "' has a path of ", address.size() - 5,
                                              " bytes; a unix socket's may have ", kLongestPath));
  }
  if (absl::StartsWith(address, "unix:") && address.size() > 5) return address;
  if (IsLoopback(address) || (tls && IsHostPort(address))) return address;
  return Error(
      Reason::kUsage,
      absl::StrCat(
          "address '", address,
          "' is neither unix:PATH nor HOST:PORT on this machine; ftctl speaks plain text there and "
          "keeps it off the network. For a remote ftd, give --tls-ca, the authority that signed "
          "its "
          "certificate, or forward its socket: ssh -L /tmp/ftd.sock:/run/ftd/ftd.sock HOST"));
}

grpc::ChannelArguments ChannelArguments() {
  grpc::ChannelArguments arguments;
  // A daemon that hangs, or a network that drops everything silently, is noticed within 50 s.
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIME_MS, 30000);
  arguments.SetInt(GRPC_ARG_KEEPALIVE_TIMEOUT_MS, 20000);
  arguments.SetInt(GRPC_ARG_HTTP2_MAX_PINGS_WITHOUT_DATA, 0);
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
  // Its name misleads: this is the time that one attempt to connect may take.
  arguments.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 10000);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 1000);
  arguments.SetInt(GRPC_ARG_ENABLE_HTTP_PROXY, 0);  // loopback must not go through $http_proxy
  arguments.SetMaxReceiveMessageSize(64 << 20);
  return arguments;
}

// A unix socket that does not exist has no listener that could be about to answer.
// `inet:` addresses may get a listener at any moment; a missing path is worth no wait.
bool NobodyCanListen(const std::string& address) {
  absl::string_view path = address;
  if (!absl::ConsumePrefix(&path, "unix:")) return false;
  std::error_code error;
  return !std::filesystem::exists(std::string(path), error);
}

// gRPC's detail is for experts; the rest says what to try, which differs with TLS.
std::string NotReachable(const std::string& address, bool tls, const std::string& detail) {
  if (tls) {
    return absl::StrCat(
        "no ftd that both sides trust answers at ", address, " (", detail,
        ").\nIf it listens there: --tls-ca must be the authority that signed its certificate, "
        "which "
        "must name this host; --tls-cert must be signed by the authority that ftd's tls_client_ca "
        "names; neither may have expired.");
  }
  return absl::StrCat(
      "no ftd answers at ", address, " (", detail,
      ").\nStart one with `ftd --state-dir DIR`, say where it listens with --address or "
      "FTCTL_ADDRESS, or use `ftctl run`, which needs none.");
}

absl::Status Usage(const std::string& message) { return Error(Reason::kUsage, message); }

// "" for a flag that was not given.
absl::StatusOr<std::string> ReadFlagFile(const char* flag, const std::string& path) {
  if (path.empty()) return std::string();
  auto text = ReadFile(path);
  if (!text.ok()) return Prefixed(text.status(), absl::StrCat(flag, ": "));
  return text;
}

// One line. A token with a blank or control character would be refused by gRPC with a worse
// message.
absl::StatusOr<std::string> ReadToken(const std::string& path) {
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadFlagFile("--token-file", path));
  const std::string token(absl::StripAsciiWhitespace(text));
  const bool printable = std::all_of(token.begin(), token.end(), absl::ascii_isgraph);
  if (path.empty() || (printable && !token.empty())) return token;
  return Error(Reason::kTokenInvalid, absl::StatusCode::kInvalidArgument,
               absl::StrCat("--token-file: ", path, " does not hold one token on one line"));
}

absl::StatusOr<std::shared_ptr<grpc::ChannelCredentials>> CredentialsFor(
    const ServerAddress& server) {
  if (server.tls_ca.empty()) {
    if (server.tls_cert.empty() && server.tls_key.empty() && server.token_file.empty()) {
      return nullptr;
    }
    return Usage(
        "certificates and tokens are shown over TLS only: give --tls-ca, the authority "
        "that signed ftd's certificate");
  }
  if (server.tls_cert.empty() != server.tls_key.empty()) {
    return Usage("--tls-cert and --tls-key go together");
  }
  // gRPC 1.51 has no setting for the least version of TLS. With this list no suite of TLS 1.2 can
  // be negotiated.
  setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1);
  grpc::SslCredentialsOptions options;
  FTD_ASSIGN_OR_RETURN(options.pem_root_certs, ReadFlagFile("--tls-ca", server.tls_ca));
  FTD_ASSIGN_OR_RETURN(options.pem_cert_chain, ReadFlagFile("--tls-cert", server.tls_cert));
  FTD_ASSIGN_OR_RETURN(options.pem_private_key, ReadFlagFile("--tls-key", server.tls_key));
  FTD_ASSIGN_OR_RETURN(const std::string token, ReadToken(server.token_file));
  auto tls = grpc::SslCredentials(options);
  if (token.empty()) return tls;
  return grpc::CompositeChannelCredentials(tls, grpc::AccessTokenCredentials(token));
}

}  // namespace

// Flag, variable, then the first default socket that exists.
absl::StatusOr<std::string> ResolveAddress(const std::string& flag, bool tls) {
  if (!flag.empty()) return CheckedAddress(flag, tls);
  if (const std::string set = Environment("FTCTL_ADDRESS"); !set.empty())
    return CheckedAddress(set, tls);
  // The first socket that exists; without any, the place where one should be, for the message.
  const std::vector<std::string> candidates = SocketCandidates();
  for (const std::string& path : candidates) {
    std::error_code error;
    if (std::filesystem::exists(path, error)) return "unix:" + path;
  }
  return "unix:" + candidates.front();
}

Connection::Connection(std::string address, std::shared_ptr<grpc::ChannelCredentials> credentials)
    : address_(std::move(address)), tls_(credentials != nullptr) {
  // Never balanced by grpc_shutdown: stopping the library's threads costs a short command two
  // milliseconds, and the process ends anyway.
  grpc_init();
  channel_ = grpc::CreateCustomChannel(
      address_, tls_ ? std::move(credentials) : grpc::InsecureChannelCredentials(),
      ChannelArguments());
  stub_ = ftd::v1::FineTuning::NewStub(channel_);
}

absl::Status Connection::Retry(const std::function<grpc::Status()>& attempt) const {
  // Asked before the first attempt: a socket that vanishes later belongs to a daemon that is
  // restarting.
  const bool hopeless = NobodyCanListen(address_);
  auto delay = milliseconds(100);
  constexpr int kRetries = 5;  // 0.1 + 0.2 + 0.4 + 0.8 + 1.6 s: a daemon restarts in less
  for (int retry = 0;; ++retry) {
    const grpc::Status status = attempt();
    const bool again = status.error_code() == grpc::StatusCode::UNAVAILABLE && retry < kRetries;
    if (!again || hopeless) return ToStatus(status);
    constexpr auto kLongest = milliseconds(5000);
    // The server's RetryInfo comes first, within reason.
    Rest(std::min(std::max(delay, RetryDelay(status).value_or(delay)), kLongest));
    delay *= 2;
  }
}

bool Connection::Rest(milliseconds time) const {
  const auto end = system_clock::now() + time;
  // A channel that is up needs the whole rest; one that is down is retried as soon as it is up
  // again.
  const bool whole = channel_->GetState(false) == GRPC_CHANNEL_READY;
  // Also the least time between two attempts at a listener that accepts and breaks at once.
  constexpr auto kLeast = milliseconds(10);
  std::this_thread::sleep_for(whole ? time : std::min(time, kLeast));
  return !whole && channel_->WaitForConnected(end);
}

absl::Status Connection::ToStatus(const grpc::Status& status) const {
  absl::Status ours = StatusFromRpc(status);
  // ftd itself said an UNAVAILABLE with a reason, the transport one without.
  if (ours.code() != absl::StatusCode::kUnavailable || !ReasonNameOf(ours).empty()) return ours;
  return absl::UnavailableError(NotReachable(address_, tls_, status.error_message()));
}

absl::StatusOr<std::unique_ptr<Connection>> Connect(ServerAddress server) {
  for (const ServerFlag& flag : kServerFlags) {
    std::string& value = server.*flag.field;
    if (value.empty()) value = Environment(flag.variable);
  }
  FTD_ASSIGN_OR_RETURN(std::string address, ResolveAddress(server.address, !server.tls_ca.empty()));
  // A unix socket needs none of it: the kernel tells each side who the other is.
  if (absl::StartsWith(address, "unix:")) server = {};
  FTD_ASSIGN_OR_RETURN(auto credentials, CredentialsFor(server));
  return std::make_unique<Connection>(std::move(address), std::move(credentials));
}

}  // namespace ftd

#include "server/net/tls.h"

#include <grpcpp/security/auth_metadata_processor.h>
#include <grpcpp/security/tls_certificate_provider.h>
#include <grpcpp/security/tls_credentials_options.h>

#include <cstdlib>
#include <optional>
#include <string_view>

#include "absl/strings/match.h"
#include "absl/strings/str_cat.h"
#include "absl/time/clock.h"
#include "lib/base/certificate.h"
#include "lib/base/error.h"
#include "server/host/log.h"

namespace ftd {
namespace {

constexpr unsigned kRefreshSeconds = 2;
constexpr char kAuthorization[] = "authorization", kBearer[] = "Bearer ";
constexpr char kCaller[] = "ftd_caller", kRole[] = "ftd_role", kCommonName[] = "x509_common_name";

std::string FirstProperty(const grpc::AuthContext& context, const char* name) {
  const auto values = context.FindPropertyValues(name);
  return values.empty() ? "" : std::string(values[0].data(), values[0].size());
}

// Checks every call that comes over TLS, whatever its service.
class CallerCheck : public grpc::AuthMetadataProcessor {
 public:
  CallerCheck(const AccessTokens& tokens, bool certificates, Role certificate_role)
      : tokens_(tokens), certificates_(certificates), certificate_role_(certificate_role) {}

  bool IsBlocking() const override { return false; }

  grpc::Status Process(const InputMetadata& metadata, grpc::AuthContext* context,
                       OutputMetadata* consumed, OutputMetadata*) override {
    const auto sent = metadata.find(kAuthorization);
    if (sent != metadata.end()) {
      const std::string value(sent->second.data(), sent->second.size());
      // Consumed, so that a token does not reach the service's handlers.
      consumed->emplace(kAuthorization, value);
      return CheckToken(value, context);
    }
    // gRPC has verified the certificate; without an authority for clients it asks for none.
    const std::string name = certificates_ ? FirstProperty(*context, kCommonName) : "";
    if (!name.empty()) return Welcome("cert:" + name, certificate_role_, context);
    return Refuse(absl::StrCat(
        "ftd is not told who calls: send a token as \"authorization: ", kBearer, "TOKEN\"",
        certificates_ ? " or a client certificate that has a common name" : "",
        " (ftctl: --token-file", certificates_ ? ", --tls-cert)" : ")"));
  }

 private:
  grpc::Status CheckToken(const std::string& value, grpc::AuthContext* context) const {
    if (!absl::StartsWith(value, kBearer)) {
      return Refuse("the metadata authorization does not read: Bearer TOKEN");
    }
    const auto token = tokens_.Find(value.substr(sizeof(kBearer) - 1));
    if (token.has_value()) return Welcome("token:" + token->name, token->role, context);
    return Refuse(
        "ftd does not know this token: it is wrong or revoked; `ftctl token create` on ftd's "
        "machine makes a new one");
  }

  static grpc::Status Welcome(const std::string& name, Role role, grpc::AuthContext* context) {
    // Found again by CallerName and CallerRole.
    context->AddProperty(kCaller, name);
    context->AddProperty(kRole, RoleName(role));
    return grpc::Status::OK;
  }

  // Refuses a call. gRPC passes code and message on, but no details, so the reason is in the
  // message.
  static grpc::Status Refuse(const std::string& message) {
    return {grpc::StatusCode::UNAUTHENTICATED, absl::StrCat("TOKEN_INVALID: ", message)};
  }

  const AccessTokens& tokens_;
  const bool certificates_;
  const Role certificate_role_;
};

}  // namespace

// gRPC has no option for the version. A list with only this suite, which needs a pre-shared key,
// leaves nothing of TLS 1.2; TLS 1.3 has suites of its own.
void AllowOnlyTls13() { setenv("GRPC_SSL_CIPHER_SUITES", "PSK-AES256-GCM-SHA384", 1); }

// Before anything is bound, and again for a SIGHUP.
absl::Status CheckTlsFiles(const TlsFiles& files) {
  if (files.certificate.empty()) return absl::OkStatus();
  FTD_ASSIGN_OR_RETURN(const CertificateValidity validity,
                       CheckCertificate(files.certificate, files.key));
  if (!validity.Holds(absl::Now())) {
    LogWarning("tls_cert ", files.certificate,
               " is not valid at this time: clients will refuse it until it is renewed");
  }
  return files.client_ca.empty() ? absl::OkStatus()
                                 : CheckCertificate(files.client_ca, "").status();
}

std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const TlsFiles& files,
                                                        const AccessTokens& tokens,
                                                        Role certificate_role) {
  using grpc::experimental::FileWatcherCertificateProvider;
  grpc::experimental::TlsServerCredentialsOptions options(
      // Certificates are read again while ftd runs, so that a renewal needs no restart.
      std::make_shared<FileWatcherCertificateProvider>(files.key, files.certificate,
                                                       files.client_ca, kRefreshSeconds));
  options.watch_identity_key_cert_pairs();
  const bool certificates = !files.client_ca.empty();
  if (certificates) {
    options.watch_root_certs();
    // Not required, so that a caller without one gets a message that says what is missing.
    options.set_cert_request_type(GRPC_SSL_REQUEST_CLIENT_CERTIFICATE_AND_VERIFY);
  }
  auto credentials = grpc::experimental::TlsServerCredentials(options);
  credentials->SetAuthMetadataProcessor(
      std::make_shared<CallerCheck>(tokens, certificates, certificate_role));
  return credentials;
}

std::string CallerName(const grpc::AuthContext& context) { return FirstProperty(context, kCaller); }

Role CallerRole(const grpc::AuthContext& context) {
  return RoleNamed(FirstProperty(context, kRole)).value_or(Role::kRead);
}

}  // namespace ftd

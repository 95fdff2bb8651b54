// TCP: TLS 1.3 alone, and nobody gets in without a certificate of the operator's authority or a
// token.
#pragma once

#include <grpcpp/security/auth_context.h>
#include <grpcpp/security/server_credentials.h>

#include <memory>
#include <string>

#include "absl/status/status.h"
#include "server/net/access_tokens.h"

namespace ftd {

struct TlsFiles {
  std::string certificate;  // PEM, with its chain; empty: no TLS
  std::string key;          // PEM
  std::string client_ca;    // PEM, who signs clients' certificates; empty: tokens alone
};

// gRPC 1.51 has no setting for the least version of TLS, only for the suites of TLS 1.2: one that
// nobody can negotiate. Call before gRPC is first used and before any thread is started.
void AllowOnlyTls13();

// Checks that the files can be read and fit together. FAILED_PRECONDITION CONFIG_INVALID, naming
// the file and the remedy. An expired certificate is logged, not refused: the unix socket needs
// none.
absl::Status CheckTlsFiles(const TlsFiles& files);

// Reads the files again every few seconds, so that they are changed without a restart. A call
// without a right token or a client certificate ends as UNAUTHENTICATED; a certificate of a foreign
// authority, or an expired one, breaks the connection. `certificate_role`: of the callers with one.
// `tokens` must outlive the credentials.
std::shared_ptr<grpc::ServerCredentials> TlsCredentials(const TlsFiles& files,
                                                        const AccessTokens& tokens,
                                                        Role certificate_role);

// Returns the caller as the owner of jobs: "token:NAME", else "cert:COMMON NAME"; empty when nobody
// was authenticated.
std::string CallerName(const grpc::AuthContext& context);
// Returns the role of the token or of certificates; the least for somebody who was not
// authenticated.
Role CallerRole(const grpc::AuthContext& context);

}  // namespace ftd

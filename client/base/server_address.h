// The place of ftd, and the means to get in.
#pragma once

#include <string>

namespace ftd {

// As given by flags; what is empty was not given.
struct ServerAddress {
  std::string address;
  // Files, for TLS.
  std::string tls_ca;      // PEM, the authority that signed ftd's certificate
  std::string tls_cert;    // PEM, this client's certificate
  std::string tls_key;     // PEM, its key
  std::string token_file;  // the token in it lets the client in
};

// A flag before or after the verb, with its environment variable. main.cc, Flags, the manual page
// and the completions all read this table.
struct ServerFlag {
  const char* name;
  const char* variable;  // read where the flag is not given
  const char* value;
  const char* help;
  std::string ServerAddress::*field;
};
inline constexpr ServerFlag kServerFlags[] = {
    {"--address", "FTCTL_ADDRESS", "unix:PATH|HOST:PORT",
     "Where ftd listens: unix:PATH or HOST:PORT", &ServerAddress::address},
    {"--tls-ca", "FTCTL_TLS_CA", "FILE",
     "Who signed ftd's certificate (PEM): HOST:PORT is spoken to with TLS 1.3",
     &ServerAddress::tls_ca},
    {"--tls-cert", "FTCTL_TLS_CERT", "FILE", "Certificate to show to ftd (PEM), with --tls-key",
     &ServerAddress::tls_cert},
    {"--tls-key", "FTCTL_TLS_KEY", "FILE", "Its key (PEM)", &ServerAddress::tls_key},
    {"--token-file", "FTCTL_TOKEN_FILE", "FILE", "File with the token to show to ftd",
     &ServerAddress::token_file},
};

}  // namespace ftd

// X.509 certificates in files, by OpenSSL's libcrypto.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"
#include "absl/time/time.h"

namespace ftd {

// When a certificate is valid.
struct CertificateValidity {
  absl::Time begin, end;

  bool Holds(absl::Time at) const { return begin < at && at < end; }
};

// Returns when the first certificate of a PEM file is valid. FAILED_PRECONDITION
// CONFIG_INVALID, naming the file: it cannot be read, or holds no certificate; `key`, unless empty,
// cannot be read, holds no private key without a passphrase, or belongs to another certificate.
absl::StatusOr<CertificateValidity> CheckCertificate(const std::filesystem::path& certificate,
                                                     const std::filesystem::path& key);

}  // namespace ftd

// X.509 certificates in files, by OpenSSL's libcrypto.
#pragma once

#include <filesystem>

#include "absl/status/statusor.h"

namespace ftd {

// Returns whether the first certificate of a PEM file is valid at this time. FAILED_PRECONDITION
// CONFIG_INVALID, naming the file: it cannot be read, or holds no certificate; `key`, unless empty,
// cannot be read, holds no private key without a passphrase, or belongs to another certificate.
absl::StatusOr<bool> CheckCertificate(const std::filesystem::path& certificate,
                                      const std::filesystem::path& key);

}  // namespace ftd

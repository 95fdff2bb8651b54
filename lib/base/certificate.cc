#include "lib/base/certificate.h"

#include <openssl/bio.h>
#include <openssl/err.h>
#include <openssl/evp.h>
#include <openssl/pem.h>
#include <openssl/x509.h>

#include <ctime>
#include <memory>
#include <string>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace ftd {
namespace {

using Bio = std::unique_ptr<BIO, decltype(&BIO_free)>;
using Certificate = std::unique_ptr<X509, decltype(&X509_free)>;
using PrivateKey = std::unique_ptr<EVP_PKEY, decltype(&EVP_PKEY_free)>;

absl::Status Bad(const std::string& message) {
  ERR_clear_error();
  return Error(Reason::kConfigInvalid, message);
}

absl::StatusOr<std::string> ReadText(const std::filesystem::path& path) {
  auto text = ReadFile(path);
  if (!text.ok()) return Bad(std::string(text.status().message()));
  return text;
}

Bio Memory(const std::string& text) {
  return {BIO_new_mem_buf(text.data(), static_cast<int>(text.size())), BIO_free};
}

// Refuses a passphrase; without it OpenSSL would ask at the terminal.
int NoPassphrase(char*, int, int, void*) { return -1; }

// Checks that the file has a key without a passphrase, and that it fits the certificate.
absl::Status CheckKey(const std::filesystem::path& path, X509* certificate) {
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadText(path));
  const PrivateKey key(PEM_read_bio_PrivateKey(Memory(text).get(), nullptr, NoPassphrase, nullptr),
                       EVP_PKEY_free);
  if (key == nullptr) {
    return Bad(absl::StrCat(path.string(),
                            " holds no private key that can be read; it must be PEM, without a "
                            "passphrase"));
  }
  if (X509_check_private_key(certificate, key.get()) == 1) return absl::OkStatus();
  return Bad(absl::StrCat(path.string(), " is the key of another certificate"));
}

absl::Time TimeOf(const ASN1_TIME* time) {
  tm parts{};
  if (ASN1_TIME_to_tm(time, &parts) != 1) return absl::InfinitePast();
  return absl::FromTM(parts, absl::UTCTimeZone());
}

}  // namespace

// Looks at the first certificate of the file, which in a chain is the server's own.
absl::StatusOr<CertificateValidity> CheckCertificate(const std::filesystem::path& certificate,
                                                     const std::filesystem::path& key) {
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadText(certificate));
  const Certificate x509(PEM_read_bio_X509(Memory(text).get(), nullptr, NoPassphrase, nullptr),
                         X509_free);
  if (x509 == nullptr) {
    return Bad(absl::StrCat(certificate.string(), " holds no certificate in PEM"));
  }
  if (!key.empty()) FTD_RETURN_IF_ERROR(CheckKey(key, x509.get()));
  return CertificateValidity{.begin = TimeOf(X509_get0_notBefore(x509.get())),
                             .end = TimeOf(X509_get0_notAfter(x509.get()))};
}

}  // namespace ftd

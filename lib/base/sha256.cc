#include "lib/base/sha256.h"

#include <fcntl.h>
#include <openssl/evp.h>
#include <unistd.h>

#include <cerrno>
#include <vector>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"

namespace ftd {

// OpenSSL's type stays out of the header.
struct Sha256::Context {
  Context() : evp(EVP_MD_CTX_new()) { EVP_DigestInit_ex(evp, EVP_sha256(), nullptr); }
  ~Context() { EVP_MD_CTX_free(evp); }
  EVP_MD_CTX* evp;
};

Sha256::Sha256() : context_(std::make_unique<Context>()) {}
Sha256::~Sha256() = default;

void Sha256::Update(std::string_view data) {
  EVP_DigestUpdate(context_->evp, data.data(), data.size());
}

std::string Sha256::HexDigest() {
  unsigned char digest[EVP_MAX_MD_SIZE];
  unsigned length = 0;
  EVP_DigestFinal_ex(context_->evp, digest, &length);
  return absl::BytesToHexString({reinterpret_cast<const char*>(digest), length});
}

// For texts in memory; a file goes through Sha256File.
std::string Sha256Hex(std::string_view data) {
  Sha256 hash;
  hash.Update(data);
  return hash.HexDigest();
}

// `progress` after each MiB lets a caller feed a watchdog while a model of many GB is read.
absl::StatusOr<std::string> Sha256File(const std::filesystem::path& path,
                                       const std::function<void()>& progress) {
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY));
  Sha256 hash;
  std::vector<char> buffer(1 << 20);
  for (;;) {
    ssize_t n = ::read(fd.get(), buffer.data(), buffer.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
    if (n == 0) return hash.HexDigest();
    hash.Update({buffer.data(), static_cast<size_t>(n)});
    if (progress != nullptr) progress();
  }
}

}  // namespace ftd

#include "lib/hub/transport/digest.h"

#include <openssl/evp.h>

#include <string>

#include "absl/strings/escaping.h"
#include "absl/strings/str_cat.h"

namespace ftd::hub {
namespace {

constexpr size_t kSha1HexDigits = 40;

EVP_MD_CTX* Context(void* context) { return static_cast<EVP_MD_CTX*>(context); }

}  // namespace

DigestKind KindOf(const std::string& etag) {
  return etag.size() == kSha1HexDigits ? DigestKind::kGit : DigestKind::kSha256;
}

BlobDigest::BlobDigest(DigestKind kind, int64_t size)
    : context_(EVP_MD_CTX_new(), [](void* context) { EVP_MD_CTX_free(Context(context)); }) {
  const bool git = kind == DigestKind::kGit;
  EVP_DigestInit_ex(Context(context_.get()), git ? EVP_sha1() : EVP_sha256(), nullptr);
  // git hashes "blob SIZE\0" before the content.
  if (git) Update(absl::StrCat("blob ", size) + std::string(1, '\0'));
}

void BlobDigest::Update(std::string_view data) {
  EVP_DigestUpdate(Context(context_.get()), data.data(), data.size());
}

// The context cannot be used after its final digest.
std::string BlobDigest::Hex() {
  unsigned char bytes[EVP_MAX_MD_SIZE];
  unsigned int size = 0;
  EVP_DigestFinal_ex(Context(context_.get()), bytes, &size);
  return absl::BytesToHexString({reinterpret_cast<const char*>(bytes), size});
}

}  // namespace ftd::hub

// The digests by which the hub names blobs: sha256 for large files, git's sha1 for the others.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace ftd::hub {

// Bytes of a file that are read and hashed at once.
inline constexpr size_t kHashedAtOnce = 1 << 20;

enum class DigestKind { kSha256, kGit };

// The kind of a digest that is given in hex.
DigestKind KindOf(const std::string& etag);

// Incremental. Not thread-safe.
class BlobDigest {
 public:
  // git's digest covers the file's size as well.
  BlobDigest(DigestKind kind, int64_t size);
  void Update(std::string_view data);
  // Lower-case hex. Call once.
  std::string Hex();

 private:
  std::unique_ptr<void, void (*)(void*)> context_;
};

}  // namespace ftd::hub

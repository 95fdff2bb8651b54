// The digests by which the hub names blobs: sha256 for large files, git's sha1 for the others.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

namespace ftd::hub {

// Incremental. Not thread-safe.
class BlobDigest {
 public:
  // The kind goes by the length of `etag`; git's digest covers the file's size as well.
  BlobDigest(const std::string& etag, int64_t size);
  void Update(std::string_view data);
  // Returns whether the bytes so far are those of the etag. Call once.
  bool Matches();

 private:
  std::string etag_;
  std::unique_ptr<void, void (*)(void*)> context_;
};

}  // namespace ftd::hub

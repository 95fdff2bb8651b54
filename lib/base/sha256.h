// SHA-256, by OpenSSL's libcrypto.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ftd {

// Incremental digest. Not thread-safe.
class Sha256 {
 public:
  Sha256();
  ~Sha256();
  void Update(std::string_view data);
  // Lower-case hex. Call once.
  std::string HexDigest();

 private:
  struct Context;
  std::unique_ptr<Context> context_;
};

// Lower-case hex digest of `data`.
std::string Sha256Hex(std::string_view data);

// Lower-case hex digest of a file's bytes, read in pieces of 1 MiB; `progress` is called after
// each.
absl::StatusOr<std::string> Sha256File(const std::filesystem::path& path,
                                       const std::function<void()>& progress = nullptr);

}  // namespace ftd

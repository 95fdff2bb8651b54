// The bytes of a dataset file in order, decompressed on the way: plain, gzip or zstd.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/statusor.h"

namespace ftd {

// Not thread-safe. Memory does not depend on the file's size.
class ByteStream {
 public:
  virtual ~ByteStream() = default;
  // Puts up to `size` > 0 bytes into `buffer`; 0 at the end. INVALID_ARGUMENT DATASET_INVALID when
  // the compressed data is damaged or cut short; the message names the file.
  virtual absl::StatusOr<size_t> Read(char* buffer, size_t size) = 0;
  // Bytes taken from the file itself so far.
  virtual int64_t consumed_bytes() const = 0;
};

enum class Compression { kNone, kGzip, kZstd };

// Returns the compression that a file's name promises: ".gz" and ".zst".
Compression CompressionOfName(std::string_view name);
// `name` without that extension.
std::string_view WithoutCompression(std::string_view name);

// Opens a file. Its first bytes say what it holds; a name (that of `name`, for uploads are stored
// by their hash) that promises a compression which is not there is an error, for such a file is
// damaged or is an error page. `name` is for messages.
absl::StatusOr<std::unique_ptr<ByteStream>> OpenByteStream(const std::filesystem::path& path,
                                                           const std::string& name);

// The same over bytes in memory, which must outlive it.
absl::StatusOr<std::unique_ptr<ByteStream>> OpenByteStreamInMemory(std::string_view bytes,
                                                                   const std::string& name);

}  // namespace ftd

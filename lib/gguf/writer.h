// A GGUF file (version 3), written front to back: header, metadata, the list of tensors, then their
// bytes in that order.
//
// The size is known before the first byte, so a disk that is too small is noticed at once. The file
// grows under a name with kUnfinishedMark in it, and has its own name once it is complete and on
// disk; when the writer goes before that, the unfinished file goes with it.
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/file.h"
#include "lib/gguf/metadata.h"
#include "lib/gguf/tensor_type.h"

namespace ftd::gguf {

// Where tensors begin, and the padding after each.
inline constexpr uint64_t kAlignment = 32;

struct TensorEntry {
  std::string name;
  TensorType type;
  std::vector<int64_t> shape;  // outermost first; one or two extents, the last in whole blocks

  uint64_t bytes() const;
};

class Writer {
 public:
  // Creates the unfinished file and writes all that comes before the tensors' bytes. DISK_FULL,
  // with the bytes needed, when they are not free; else lib/base/file.h's errors.
  static absl::StatusOr<Writer> Create(const std::filesystem::path& path, const Metadata& metadata,
                                       std::vector<TensorEntry> tensors);
  Writer(Writer&& other) noexcept;
  Writer& operator=(Writer&& other) = delete;
  ~Writer();

  // Appends the next bytes of the tensors, which may end within one. Requires: no bytes beyond a
  // tensor's end.
  absl::Status Write(std::string_view data);
  // Gives the file its name, in place of any other one. Requires: all bytes written.
  absl::Status Finish();

  uint64_t size() const { return size_; }

 private:
  Writer(std::filesystem::path path, std::vector<TensorEntry> tensors);
  absl::Status Flush();
  absl::Status CheckSpace() const;
  void Pad();

  std::filesystem::path path_, unfinished_;  // unfinished_: empty once there is none
  Fd fd_;
  std::vector<TensorEntry> tensors_;
  size_t current_ = 0;    // the tensor that bytes belong to
  uint64_t written_ = 0;  // of it
  uint64_t size_ = 0;
  uint64_t flushed_ = 0;
  std::string buffer_;
};

}  // namespace ftd::gguf

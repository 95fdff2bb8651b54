// Writes safetensors files, whose format safetensors.h describes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/file.h"
#include "lib/model/safetensors.h"

namespace ftd {

// What the header says of a tensor.
struct TensorHeader {
  std::string name;
  TensorDtype dtype;
  std::vector<int64_t> shape;

  uint64_t bytes() const;
};

// One file, written front to back: a header, padded to 64 bytes so that the data starts aligned,
// then the tensors' bytes in the given order.
class SafetensorsWriter {
 public:
  // Creates the file, which must not exist, and writes its header.
  static absl::StatusOr<SafetensorsWriter> Create(
      const std::filesystem::path& path, const std::vector<TensorHeader>& tensors,
      const std::map<std::string, std::string>& metadata);

  // Appends bytes of the tensors.
  absl::Status Write(std::string_view data);
  // Makes the file durable; not its name. INTERNAL unless all bytes were written.
  absl::Status Finish();

 private:
  SafetensorsWriter(std::filesystem::path path, Fd fd, uint64_t left)
      : path_(std::move(path)), fd_(std::move(fd)), left_(left) {}

  std::filesystem::path path_;
  Fd fd_;
  uint64_t left_;  // bytes of tensors still to be written
};

// A tensor to be written; `data` must hold shape × dtype bytes.
struct TensorToWrite {
  std::string name;
  TensorView tensor;
};

// Writes one file of tensors that are all in memory.
absl::Status WriteSafetensors(const std::filesystem::path& path,
                              const std::vector<TensorToWrite>& tensors,
                              const std::map<std::string, std::string>& metadata);

}  // namespace ftd

#include "lib/model/safetensors_writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>
#include <functional>
#include <numeric>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "nlohmann/json.hpp"

namespace ftd {

uint64_t TensorHeader::bytes() const {
  return std::accumulate(shape.begin(), shape.end(), uint64_t{TensorDtypeSize(dtype)},
                         std::multiplies<>());
}

absl::StatusOr<SafetensorsWriter> SafetensorsWriter::Create(
    const std::filesystem::path& path, const std::vector<TensorHeader>& tensors,
    const std::map<std::string, std::string>& metadata) {
  nlohmann::ordered_json header = nlohmann::ordered_json::object();
  if (!metadata.empty()) header["__metadata__"] = metadata;
  uint64_t offset = 0;
  for (const TensorHeader& tensor : tensors) {
    header[tensor.name] = {{"dtype", TensorDtypeName(tensor.dtype)},
                           {"shape", tensor.shape},
                           {"data_offsets", {offset, offset + tensor.bytes()}}};
    offset += tensor.bytes();
  }
  std::string text = header.dump();
  // Blanks at its end are part of the JSON text, as the format allows.
  const uint64_t padded = (sizeof(uint64_t) + text.size() + 63) / 64 * 64 - sizeof(uint64_t);
  text.resize(padded, ' ');
  // O_EXCL: a file of that name is somebody else's.
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_EXCL));
  FTD_RETURN_IF_ERROR(
      WriteAll(fd.get(), {reinterpret_cast<const char*>(&padded), sizeof padded}, path));
  FTD_RETURN_IF_ERROR(WriteAll(fd.get(), text, path));
  return SafetensorsWriter(path, std::move(fd), offset);
}

absl::Status SafetensorsWriter::Write(std::string_view data) {
  left_ -= data.size();
  return WriteAll(fd_.get(), data, path_);
}

absl::Status SafetensorsWriter::Finish() {
  if (left_ != 0)
    return Error(Reason::kInternal, Concat(path_.string(), ": not all tensors were written"));
  if (::fsync(fd_.get()) != 0) return ErrnoError(errno, Concat("fsync ", path_.string()));
  return absl::OkStatus();
}

absl::Status WriteSafetensors(const std::filesystem::path& path,
                              const std::vector<TensorToWrite>& tensors,
                              const std::map<std::string, std::string>& metadata) {
  std::vector<TensorHeader> headers;
  headers.reserve(tensors.size());
  for (const TensorToWrite& t : tensors)
    headers.push_back({t.name, t.tensor.dtype, t.tensor.shape});
  FTD_ASSIGN_OR_RETURN(SafetensorsWriter writer,
                       SafetensorsWriter::Create(path, headers, metadata));
  for (const TensorToWrite& t : tensors) FTD_RETURN_IF_ERROR(writer.Write(t.tensor.data));
  return writer.Finish();
}

}  // namespace ftd

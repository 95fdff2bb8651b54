#include "lib/gguf/writer.h"

#include <fcntl.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_format.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"

namespace ftd::gguf {
namespace {

constexpr uint32_t kVersion = 3;
constexpr size_t kBufferBytes = 1 << 20;

uint64_t Aligned(uint64_t size) { return (size + kAlignment - 1) / kAlignment * kAlignment; }

// All before the tensors' bytes, padded to where they begin.
std::string HeaderOf(const Metadata& metadata, const std::vector<TensorEntry>& tensors) {
  std::string header = "GGUF";
  AppendU32(kVersion, &header);
  AppendU64(tensors.size(), &header);
  AppendU64(metadata.count(), &header);
  header += metadata.bytes();
  uint64_t offset = 0;
  for (const TensorEntry& tensor : tensors) {
    AppendText(tensor.name, &header);
    AppendU32(static_cast<uint32_t>(tensor.shape.size()), &header);
    for (size_t i = tensor.shape.size(); i > 0; --i)
      AppendU64(static_cast<uint64_t>(tensor.shape[i - 1]), &header);
    AppendU32(static_cast<uint32_t>(tensor.type), &header);
    AppendU64(offset, &header);
    offset += Aligned(tensor.bytes());
  }
  header.resize(Aligned(header.size()));
  return header;
}

}  // namespace

uint64_t TensorEntry::bytes() const {
  const int64_t rows = shape.size() > 1 ? shape.front() : 1;
  return static_cast<uint64_t>(rows * RowBytes(type, shape.back()));
}

Writer::Writer(std::filesystem::path path, std::vector<TensorEntry> tensors)
    : path_(std::move(path)), tensors_(std::move(tensors)) {}

Writer::Writer(Writer&& other) noexcept
    : path_(std::move(other.path_)),
      unfinished_(std::exchange(other.unfinished_, {})),
      fd_(std::move(other.fd_)),
      tensors_(std::move(other.tensors_)),
      current_(other.current_),
      written_(other.written_),
      size_(other.size_),
      flushed_(other.flushed_),
      buffer_(std::move(other.buffer_)) {}

Writer::~Writer() {
  if (!unfinished_.empty()) ::unlink(unfinished_.c_str());
}

absl::StatusOr<Writer> Writer::Create(const std::filesystem::path& path, const Metadata& metadata,
                                      std::vector<TensorEntry> tensors) {
  Writer writer(path, std::move(tensors));
  writer.buffer_ = HeaderOf(metadata, writer.tensors_);
  writer.size_ = writer.buffer_.size();
  for (const TensorEntry& tensor : writer.tensors_) writer.size_ += Aligned(tensor.bytes());
  FTD_RETURN_IF_ERROR(writer.CheckSpace());
  std::filesystem::path unfinished = path;
  unfinished += Concat(kUnfinishedMark, ::getpid());
  FTD_ASSIGN_OR_RETURN(writer.fd_, OpenFile(unfinished, O_WRONLY | O_CREAT | O_TRUNC));
  writer.unfinished_ = std::move(unfinished);
  FTD_RETURN_IF_ERROR(writer.Flush());
  return writer;
}

absl::Status Writer::CheckSpace() const {
  const std::filesystem::path dir = path_.has_parent_path() ? path_.parent_path() : ".";
  std::error_code error;
  const auto space = std::filesystem::space(dir, error);
  if (error) return ErrnoError(error.value(), dir.string());
  if (space.available >= size_) return absl::OkStatus();
  return Error(
      Reason::kDiskFull,
      absl::StrFormat("%s needs %.2f GB, but %.2f GB are free there; make room, choose another "
                      "folder, or choose a type with fewer bits",
                      path_.string(), static_cast<double>(size_) / 1e9,
                      static_cast<double>(space.available) / 1e9));
}

absl::Status Writer::Flush() {
  FTD_RETURN_IF_ERROR(WriteAll(fd_.get(), buffer_, unfinished_));
  flushed_ += buffer_.size();
  buffer_.clear();
  return absl::OkStatus();
}

// The header ends aligned, so the place in the file tells what is missing.
void Writer::Pad() {
  const uint64_t place = flushed_ + buffer_.size();
  buffer_.append(Aligned(place) - place, '\0');
}

absl::Status Writer::Write(std::string_view data) {
  buffer_.append(data);
  written_ += data.size();
  if (current_ < tensors_.size() && written_ == tensors_[current_].bytes()) {
    Pad();
    ++current_;
    written_ = 0;
  }
  return buffer_.size() < kBufferBytes ? absl::OkStatus() : Flush();
}

absl::Status Writer::Finish() {
  if (current_ != tensors_.size() || written_ != 0)
    return Error(Reason::kInternal, Concat(path_.string(), ": not all tensors were written"));
  FTD_RETURN_IF_ERROR(Flush());
  if (::fsync(fd_.get()) != 0) return ErrnoError(errno, Concat("fsync ", unfinished_.string()));
  FTD_RETURN_IF_ERROR(RenameDurably(unfinished_, path_));
  unfinished_.clear();
  return absl::OkStatus();
}

}  // namespace ftd::gguf

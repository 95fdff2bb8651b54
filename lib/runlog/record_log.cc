#include "lib/runlog/record_log.h"

#include <fcntl.h>
#include <unistd.h>
#include <zlib.h>

#include <algorithm>
#include <cerrno>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

constexpr size_t kFrameBytes = 8, kPieceBytes = 16 << 10;

uint32_t Checksum(std::string_view data) {
  return static_cast<uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(data.data()), static_cast<uInt>(data.size())));
}

// Takes the whole records at the start of `bytes`. Returns how many bytes the next one needs; 0:
// there is none, or no more are wanted.
size_t TakeRecords(std::string_view bytes, size_t max_records, RecordBatch* batch) {
  while (max_records == 0 || batch->payloads.size() < max_records) {
    uint32_t frame[2];
    if (bytes.size() < sizeof frame) return sizeof frame;
    std::memcpy(frame, bytes.data(), sizeof frame);
    if (frame[0] == 0 || frame[0] > kMaxRecordBytes) return 0;
    const size_t size = kFrameBytes + frame[0];
    if (bytes.size() < size) return size;
    const std::string_view payload = bytes.substr(kFrameBytes, frame[0]);
    if (Checksum(payload) != frame[1]) return 0;
    batch->next_offset += size;
    batch->payloads.emplace_back(payload);
    bytes.remove_prefix(size);
  }
  return 0;
}

}  // namespace

absl::StatusOr<RecordLogWriter> RecordLogWriter::Create(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_EXCL | O_APPEND));
  return RecordLogWriter(std::move(fd), path);
}

// A payload that is refused here could never be read back.
absl::Status RecordLogWriter::Append(std::string_view payload, bool sync) {
  if (payload.empty() || payload.size() > kMaxRecordBytes) {
    return absl::InvalidArgumentError(
        absl::StrCat("record of ", payload.size(), " bytes for ", path_.string()));
  }
  uint32_t frame[2] = {static_cast<uint32_t>(payload.size()), Checksum(payload)};
  std::string record(reinterpret_cast<const char*>(frame), sizeof frame);
  record.append(payload);
  // One write for frame and payload: a reader sees both, or a tail that is cut short.
  FTD_RETURN_IF_ERROR(WriteAll(fd_.get(), record, path_));
  if (sync && ::fsync(fd_.get()) != 0)
    return ErrnoError(errno, absl::StrCat("fsync ", path_.string()));
  return absl::OkStatus();
}

absl::StatusOr<RecordBatch> ReadRecords(const std::filesystem::path& path, uint64_t offset,
                                        size_t max_records) {
  RecordBatch batch;
  batch.next_offset = offset;
  auto fd = OpenFile(path, O_RDONLY);
  if (absl::IsNotFound(fd.status())) return batch;
  if (!fd.ok()) return fd.status();
  // Read in pieces that hold many records, and more of it for one that is longer.
  std::string piece;
  size_t wanted = kPieceBytes;
  // Stops at the first record that is not whole. It may be whole the next time, so next_offset
  // stays before it.
  while (true) {
    piece.resize(wanted);
    const ssize_t n =
        ::pread(fd->get(), piece.data(), wanted, static_cast<off_t>(batch.next_offset));
    if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
    const bool file_ends = static_cast<size_t>(n) < wanted;
    const size_t missing = TakeRecords({piece.data(), static_cast<size_t>(n)}, max_records, &batch);
    if (missing == 0 || file_ends) break;
    wanted = std::max(kPieceBytes, missing);
  }
  return batch;
}

}  // namespace ftd

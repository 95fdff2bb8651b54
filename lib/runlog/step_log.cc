#include "lib/runlog/step_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <cerrno>
#include <cstddef>
#include <cstring>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

constexpr uint64_t kMagic = 0x31475453'20445446;  // "FTD STG1"

struct Header {
  uint64_t magic;
  uint32_t row_bytes;
  uint32_t reserved;
  int64_t first_step;
  int64_t steps_planned;
  uint64_t heartbeat;
  char padding[24];
};
static_assert(sizeof(Header) == 64);

// StepRow's fields before `mfu`, byte for byte; older workers wrote zeros where it is.
struct DiskRow {
  char numbers[offsetof(StepRow, mfu)];
  float mfu;
  uint32_t crc;
};
static_assert(sizeof(DiskRow) == 128);

uint32_t Checksum(const DiskRow& row) {
  return static_cast<uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(&row), offsetof(DiskRow, crc)));
}

DiskRow ToDisk(const StepRow& row) {
  DiskRow disk{};
  std::memcpy(disk.numbers, &row, sizeof disk.numbers);
  disk.mfu = static_cast<float>(row.mfu);
  disk.crc = Checksum(disk);
  return disk;
}

StepRow FromDisk(const DiskRow& disk) {
  StepRow row;
  std::memcpy(&row, disk.numbers, sizeof disk.numbers);
  row.mfu = disk.mfu;
  return row;
}

absl::StatusOr<Header> ReadHeader(int fd, const std::filesystem::path& path) {
  Header header;
  ssize_t n = ::pread(fd, &header, sizeof header, 0);
  if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
  if (n < static_cast<ssize_t>(sizeof header))
    return absl::NotFoundError(absl::StrCat(path.string(), " is being made"));
  if (header.magic != kMagic || header.row_bytes != sizeof(DiskRow)) {
    return absl::DataLossError(absl::StrCat(path.string(), " is not a step log of this release"));
  }
  return header;
}

}  // namespace

StepLogWriter::StepLogWriter(Fd fd, std::filesystem::path path, void* header)
    : fd_(std::move(fd)), path_(std::move(path)), header_(header) {}

StepLogWriter::StepLogWriter(StepLogWriter&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::move(other.path_)),
      header_(std::exchange(other.header_, nullptr)) {}

StepLogWriter& StepLogWriter::operator=(StepLogWriter&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(header_, other.header_);
  return *this;
}

StepLogWriter::~StepLogWriter() {
  if (header_ != nullptr) ::munmap(header_, sizeof(Header));
}

absl::StatusOr<StepLogWriter> StepLogWriter::Create(const std::filesystem::path& path,
                                                    int64_t first_step, int64_t steps_planned) {
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND));
  Header header{};
  header.magic = kMagic;
  header.row_bytes = sizeof(DiskRow);
  header.first_step = first_step;
  header.steps_planned = steps_planned;
  FTD_RETURN_IF_ERROR(
      WriteAll(fd.get(), {reinterpret_cast<const char*>(&header), sizeof header}, path));
  void* mapped = ::mmap(nullptr, sizeof(Header), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (mapped == MAP_FAILED) return ErrnoError(errno, absl::StrCat("mmap ", path.string()));
  return StepLogWriter(std::move(fd), path, mapped);
}

absl::Status StepLogWriter::Append(const StepRow& row) {
  const DiskRow disk = ToDisk(row);
  return WriteAll(fd_.get(), {reinterpret_cast<const char*>(&disk), sizeof disk}, path_);
}

void StepLogWriter::Beat() {
  std::atomic_ref<uint64_t>(static_cast<Header*>(header_)->heartbeat)
      .fetch_add(1, std::memory_order_relaxed);
}

absl::Status StepLogWriter::Sync() {
  if (::fsync(fd_.get()) != 0) return ErrnoError(errno, absl::StrCat("fsync ", path_.string()));
  return absl::OkStatus();
}

absl::StatusOr<StepLogInfo> ReadStepLogInfo(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY));
  FTD_ASSIGN_OR_RETURN(Header header, ReadHeader(fd.get(), path));
  return StepLogInfo{header.first_step, header.steps_planned, header.heartbeat};
}

absl::StatusOr<std::vector<StepRow>> ReadStepRows(const std::filesystem::path& path, int64_t from,
                                                  int64_t max_rows) {
  std::vector<StepRow> rows;
  auto fd = OpenFile(path, O_RDONLY);
  if (absl::IsNotFound(fd.status())) return rows;
  if (!fd.ok()) return fd.status();
  auto header = ReadHeader(fd->get(), path);
  if (absl::IsNotFound(header.status())) return rows;
  if (!header.ok()) return header.status();
  std::vector<DiskRow> chunk(512);
  off_t offset = static_cast<off_t>(sizeof(Header)) + from * static_cast<off_t>(sizeof(DiskRow));
  for (;;) {
    ssize_t n = ::pread(fd->get(), chunk.data(), chunk.size() * sizeof(DiskRow), offset);
    if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
    size_t whole = static_cast<size_t>(n) / sizeof(DiskRow);
    for (size_t i = 0; i < whole; ++i) {
      if (Checksum(chunk[i]) != chunk[i].crc) return rows;
      if (max_rows > 0 && static_cast<int64_t>(rows.size()) == max_rows) return rows;
      rows.push_back(FromDisk(chunk[i]));
    }
    if (whole < chunk.size()) return rows;
    offset += static_cast<off_t>(whole * sizeof(DiskRow));
  }
}

absl::StatusOr<std::vector<StepRow>> MergeStepLogs(const std::vector<std::filesystem::path>& logs) {
  std::vector<StepRow> merged;
  for (const auto& log : logs) {
    auto info = ReadStepLogInfo(log);
    if (absl::IsNotFound(info.status())) continue;
    if (!info.ok()) return info.status();
    FTD_ASSIGN_OR_RETURN(std::vector<StepRow> rows, ReadStepRows(log));
    while (!merged.empty() && merged.back().step >= info->first_step) merged.pop_back();
    merged.insert(merged.end(), rows.begin(), rows.end());
  }
  return merged;
}

}  // namespace ftd

#include "lib/runlog/step_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {

using step_layout::ColumnsOfTable;
using step_layout::Counts;
using step_layout::Crc;
using step_layout::FromRow;
using step_layout::Header;
using step_layout::kMagic;
using step_layout::Layout;
using step_layout::LayoutToWrite;
using step_layout::ParseColumns;
using step_layout::ToRow;

namespace {

// Rows that are read with one system call.
constexpr int64_t kChunkRows = 512;

absl::Status NotOurs(const std::filesystem::path& path) {
  return absl::DataLossError(absl::StrCat(path.string(), " is not a step log of this release"));
}

// Reads the columns that follow the fixed part of a version 2 header.
absl::StatusOr<Layout> ReadColumns(int fd, const Header& header,
                                   const std::filesystem::path& path) {
  // Checked before the sizes are used: the file may be damaged.
  if (header.header_bytes < sizeof header || header.header_bytes > step_layout::kMostHeaderBytes ||
      header.row_bytes > step_layout::kMostRowBytes)
    return NotOurs(path);
  std::string columns(header.header_bytes - sizeof header, '\0');
  const ssize_t n = ::pread(fd, columns.data(), columns.size(), sizeof header);
  if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
  if (n < static_cast<ssize_t>(columns.size()))
    return absl::NotFoundError(absl::StrCat(path.string(), " is being made"));
  if (Crc(columns) != header.columns_crc) return NotOurs(path);
  const std::string_view text(columns.c_str());  // up to the zeros
  const auto layout = ParseColumns(text, kStepLogVersion);
  if (!layout || layout->row_bytes != header.row_bytes) return NotOurs(path);
  return *layout;
}

}  // namespace

StepLogWriter::StepLogWriter(Fd fd, std::filesystem::path path, void* header, int32_t version)
    : fd_(std::move(fd)), path_(std::move(path)), header_(header), version_(version) {}

StepLogWriter::StepLogWriter(StepLogWriter&& other) noexcept
    : fd_(std::move(other.fd_)),
      path_(std::move(other.path_)),
      header_(std::exchange(other.header_, nullptr)),
      version_(other.version_) {}

StepLogWriter& StepLogWriter::operator=(StepLogWriter&& other) noexcept {
  std::swap(fd_, other.fd_);
  std::swap(path_, other.path_);
  std::swap(header_, other.header_);
  std::swap(version_, other.version_);
  return *this;
}

StepLogWriter::~StepLogWriter() {
  if (header_ != nullptr) ::munmap(header_, sizeof(Header));
}

// The columns are padded with zeros, so that the first row begins at a multiple of 8 bytes.
absl::StatusOr<StepLogWriter> StepLogWriter::Create(const std::filesystem::path& path,
                                                    int64_t first_step, int64_t steps_planned,
                                                    int32_t version) {
  // O_EXCL: an attempt has one log, and nothing is appended after a torn row.
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDWR | O_CREAT | O_EXCL | O_APPEND));
  std::string columns = version == 1 ? "" : ColumnsOfTable();
  columns.resize((columns.size() + 7) / 8 * 8);
  Header header{};
  header.magic = kMagic[version - 1];
  header.row_bytes = LayoutToWrite(version).row_bytes;
  header.first_step = first_step;
  header.steps_planned = steps_planned;
  if (version > 1) {
    header.header_bytes = static_cast<uint32_t>(sizeof header + columns.size());
    header.columns_crc = Crc(columns);
  }
  // One write, so that a reader finds no header or a whole one.
  FTD_RETURN_IF_ERROR(
      WriteAll(fd.get(),
               std::string(reinterpret_cast<const char*>(&header), sizeof header) + columns, path));
  // Only the heartbeat is written through the mapping: a step without a system call.
  void* mapped = ::mmap(nullptr, sizeof(Header), PROT_READ | PROT_WRITE, MAP_SHARED, fd.get(), 0);
  if (mapped == MAP_FAILED) return ErrnoError(errno, absl::StrCat("mmap ", path.string()));
  return StepLogWriter(std::move(fd), path, mapped, version);
}

// One write(2) a row: a reader in another process sees a prefix of it at worst, which fails its
// CRC.
absl::Status StepLogWriter::Append(const v1::StepMetrics& step) {
  return WriteAll(fd_.get(), ToRow(step, LayoutToWrite(version_)), path_);
}

// Relaxed: it carries no other data, only the fact that it changed.
void StepLogWriter::Beat() {
  std::atomic_ref<uint64_t>(static_cast<Header*>(header_)->heartbeat)
      .fetch_add(1, std::memory_order_relaxed);
}

absl::Status StepLogWriter::Sync() {
  if (::fsync(fd_.get()) != 0) return ErrnoError(errno, absl::StrCat("fsync ", path_.string()));
  return absl::OkStatus();
}

absl::StatusOr<StepLogReader> StepLogReader::Open(const std::filesystem::path& path) {
  StepLogReader log;
  log.path_ = path;
  FTD_ASSIGN_OR_RETURN(log.fd_, OpenFile(path, O_RDONLY));
  Header& header = log.header_;
  const ssize_t n = ::pread(log.fd_.get(), &header, sizeof header, 0);
  if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
  if (n < static_cast<ssize_t>(sizeof header))
    return absl::NotFoundError(absl::StrCat(path.string(), " is being made"));
  // A power cut may have taken the first write and left a later one.
  if (header.magic == 0)
    return absl::NotFoundError(absl::StrCat(path.string(), " was never flushed"));
  if (header.magic == kMagic[0]) {
    log.layout_ = LayoutToWrite(1);
    header.header_bytes = sizeof header;
    if (header.row_bytes != log.layout_.row_bytes) return NotOurs(path);
  } else if (header.magic == kMagic[1]) {
    FTD_ASSIGN_OR_RETURN(log.layout_, ReadColumns(log.fd_.get(), header, path));
  } else {
    return NotOurs(path);
  }
  return log;
}

absl::StatusOr<int64_t> StepLogReader::RowsBySize() const {
  struct stat status = {};
  if (::fstat(fd_.get(), &status) != 0)
    return ErrnoError(errno, absl::StrCat("stat ", path_.string()));
  return std::max<int64_t>(0, (status.st_size - header_.header_bytes) / header_.row_bytes);
}

// Chunks of rows: one system call for many steps, and no more memory for a long log.
template <typename Function>
absl::Status StepLogReader::ForEachRow(int64_t from, int64_t max_rows, Check check,
                                       Function function) const {
  const size_t row_bytes = layout_.row_bytes;
  // Whoever asks may name any row, whose offset must be a number.
  if (from > std::numeric_limits<off_t>::max() / (2 * step_layout::kMostRowBytes))
    return absl::OkStatus();
  std::string chunk;
  for (int64_t left = max_rows; left > 0; left -= kChunkRows, from += kChunkRows) {
    const auto wanted = static_cast<size_t>(std::min(left, kChunkRows));
    chunk.resize(wanted * row_bytes);
    const off_t offset =
        static_cast<off_t>(header_.header_bytes) + static_cast<off_t>(from * header_.row_bytes);
    const ssize_t n = ::pread(fd_.get(), chunk.data(), chunk.size(), offset);
    if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path_.string()));
    const size_t whole = static_cast<size_t>(n) / row_bytes;
    for (size_t i = 0; i < whole; ++i) {
      const char* const row = chunk.data() + i * row_bytes;
      // No row after one that does not count is read, so the steps have no gap.
      if (check == Check::kCrc && !Counts(row, layout_)) return absl::OkStatus();
      function(row);
    }
    if (whole < wanted) return absl::OkStatus();
  }
  return absl::OkStatus();
}

absl::StatusOr<std::vector<v1::StepMetrics>> StepLogReader::Steps(int64_t from,
                                                                  int64_t max_rows) const {
  std::vector<v1::StepMetrics> steps;
  FTD_RETURN_IF_ERROR(ForEachRow(from, max_rows, Check::kCrc,
                                 [&](const char* row) { steps.push_back(FromRow(row, layout_)); }));
  return steps;
}

absl::Status StepLogReader::Losses(int64_t from, int64_t max_rows, Check check,
                                   std::vector<double>* losses) const {
  return ForEachRow(from, max_rows, check,
                    [&](const char* row) { losses->push_back(step_layout::LossOf(row, layout_)); });
}

absl::StatusOr<StepLogInfo> ReadStepLogInfo(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(const StepLogReader log, StepLogReader::Open(path));
  return log.info();
}

absl::StatusOr<std::vector<v1::StepMetrics>> ReadSteps(const std::filesystem::path& path,
                                                       int64_t from, int64_t max_rows) {
  const auto log = StepLogReader::Open(path);
  if (absl::IsNotFound(log.status())) return std::vector<v1::StepMetrics>();
  FTD_RETURN_IF_ERROR(log.status());
  return log->Steps(from, max_rows > 0 ? max_rows : std::numeric_limits<int64_t>::max());
}

// From the end: only the last row can be torn, so this reads one row or two.
absl::StatusOr<std::optional<v1::StepMetrics>> ReadLastStep(const std::filesystem::path& path) {
  const auto log = StepLogReader::Open(path);
  if (absl::IsNotFound(log.status())) return std::nullopt;
  FTD_RETURN_IF_ERROR(log.status());
  FTD_ASSIGN_OR_RETURN(const int64_t rows, log->RowsBySize());
  for (int64_t i = rows - 1; i >= 0; --i) {
    FTD_ASSIGN_OR_RETURN(auto row, log->Steps(i, 1));
    if (!row.empty()) return std::move(row.front());
  }
  return std::nullopt;
}

// Logs in the order of attempts. One that does not exist belongs to an attempt without a step.
absl::StatusOr<std::vector<v1::StepMetrics>> MergeStepLogs(
    const std::vector<std::filesystem::path>& logs) {
  std::vector<v1::StepMetrics> merged;
  for (const auto& log : logs) {
    const auto info = ReadStepLogInfo(log);
    if (absl::IsNotFound(info.status())) continue;
    if (!info.ok()) return info.status();
    FTD_ASSIGN_OR_RETURN(std::vector<v1::StepMetrics> steps, ReadSteps(log));
    // A later attempt repeats the steps after its checkpoint. Its rows replace the earlier ones,
    // also those that it has not reached yet.
    while (!merged.empty() && merged.back().step() >= info->first_step) merged.pop_back();
    merged.insert(merged.end(), std::make_move_iterator(steps.begin()),
                  std::make_move_iterator(steps.end()));
  }
  return merged;
}

}  // namespace ftd

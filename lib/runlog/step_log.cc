#include "lib/runlog/step_log.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>
#include <zlib.h>

#include <atomic>
#include <cerrno>
#include <cmath>
#include <cstring>
#include <limits>
#include <string>
#include <string_view>
#include <utility>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/runlog/step_metrics.h"
#include "lib/runlog/timestamp.h"

namespace ftd {
namespace {

using google::protobuf::FieldDescriptor;

// In the file's bytes: "FTD STG1" and "FTD STG2".
constexpr uint64_t kMagic[] = {0x31475453'20445446, 0x32475453'20445446};  // "FTD STG1", "FTD STG2"
constexpr uint32_t kMostHeaderBytes = 1 << 16, kMostRowBytes = 1 << 12;

struct Header {
  uint64_t magic;
  uint32_t row_bytes;
  uint32_t header_bytes;  // 0 in version 1
  int64_t first_step;
  int64_t steps_planned;
  uint64_t heartbeat;
  uint32_t columns_crc;
  char padding[20];
};
static_assert(sizeof(Header) == 64);

// Version 1's columns, in its order. Its files do not name them.
constexpr std::string_view kVersion1Columns =
    "step i64\nepoch f64\nloss f64\ngrad_norm f64\nlearning_rate f64\ntokens i64\n"
    "tokens_total i64\npadding_ratio f64\ntokens_per_second f64\nstep_seconds f64\n"
    "data_wait_seconds f64\nsamples i64\ntime us\nentropy f64\nmean_token_accuracy f64\nmfu f32\n";

// Returns today's columns: one for each row of the table of metrics.
std::string ColumnsOfTable() {
  std::string columns;
  for (const StepMetric& metric : StepMetricsTable()) {
    const auto* field = v1::StepMetrics::descriptor()->FindFieldByName(metric.name);
    const bool integer = field->cpp_type() == FieldDescriptor::CPPTYPE_INT64;
    const bool time = field->cpp_type() == FieldDescriptor::CPPTYPE_MESSAGE;
    absl::StrAppend(&columns, metric.name, time ? " us\n" : integer ? " i64\n" : " f64\n");
  }
  return columns;
}

uint32_t Crc(std::string_view bytes) {
  return static_cast<uint32_t>(
      ::crc32(0, reinterpret_cast<const Bytef*>(bytes.data()), static_cast<uInt>(bytes.size())));
}

template <typename T>
T Load(const char* from) {
  T value;
  std::memcpy(&value, from, sizeof value);
  return value;
}

template <typename T>
void Store(T value, char* to) {
  std::memcpy(to, &value, sizeof value);
}

// "i64", "f64", "f32" and "us" (microseconds since 1970) in the header.
enum class Type { kI64, kF64, kF32, kTime };

struct Column {
  const FieldDescriptor* field = nullptr;  // null: this release does not know it
  Type type = Type::kF64;
  uint32_t offset = 0;
};

// The layout of a row's bytes.
struct Layout {
  std::vector<Column> columns;
  uint32_t row_bytes = 0;  // with the CRC
  // Version 1 had no way to say that a value is missing.
  bool zero_is_absent = false;

  uint32_t crc_offset() const { return row_bytes - static_cast<uint32_t>(sizeof(uint32_t)); }
};

// A column whose type does not fit its field was written by something else.
bool Fits(const FieldDescriptor* field, Type type) {
  switch (field->cpp_type()) {
    case FieldDescriptor::CPPTYPE_INT64:
      return type == Type::kI64;
    case FieldDescriptor::CPPTYPE_DOUBLE:
      return type == Type::kF64 || type == Type::kF32;
    default:
      return type == Type::kTime;
  }
}

// Returns the layout that "NAME TYPE\n" lines describe. nullopt: not such lines. A name that this
// release does not know keeps its place and is not read.
std::optional<Layout> ParseColumns(std::string_view text, int32_t version) {
  constexpr std::pair<std::string_view, Type> kTypes[] = {
      {"i64", Type::kI64}, {"f64", Type::kF64}, {"f32", Type::kF32}, {"us", Type::kTime}};
  Layout layout;
  layout.zero_is_absent = version == 1;
  uint32_t offset = 0;
  while (!text.empty()) {
    const size_t blank = text.find(' '), end = text.find('\n');
    if (end == std::string_view::npos || blank > end) return std::nullopt;
    const std::string name(text.substr(0, blank));
    const std::string_view type = text.substr(blank + 1, end - blank - 1);
    const auto* known = std::find_if(std::begin(kTypes), std::end(kTypes),
                                     [&](auto& t) { return t.first == type; });
    if (known == std::end(kTypes)) return std::nullopt;
    Column& column = layout.columns.emplace_back();
    column.field = v1::StepMetrics::descriptor()->FindFieldByName(name);
    column.type = known->second;
    column.offset = offset;
    if (column.field != nullptr && !Fits(column.field, column.type)) return std::nullopt;
    offset += column.type == Type::kF32 ? 4 : 8;
    text.remove_prefix(end + 1);
  }
  layout.row_bytes = offset + static_cast<uint32_t>(sizeof(uint32_t));
  return layout;
}

const Layout& LayoutToWrite(int32_t version) {
  // Never destroyed: a thread may still write a row while the process ends.
  static const auto& layouts = *new std::pair<Layout, Layout>(
      *ParseColumns(kVersion1Columns, 1), *ParseColumns(ColumnsOfTable(), kStepLogVersion));
  return version == 1 ? layouts.first : layouts.second;
}

// A metric that is missing is NaN from version 2 on.
void StoreReal(const v1::StepMetrics& step, const Column& column, double absent, char* to) {
  const bool there =
      !column.field->has_presence() || step.GetReflection()->HasField(step, column.field);
  const double value = there ? step.GetReflection()->GetDouble(step, column.field) : absent;
  if (column.type == Type::kF32) {
    Store(static_cast<float>(value), to);
  } else {
    Store(value, to);
  }
}

// Each column at its offset, then the CRC of all of them.
std::string ToRow(const v1::StepMetrics& step, const Layout& layout) {
  std::string row(layout.row_bytes, '\0');
  for (const Column& column : layout.columns) {
    char* const to = row.data() + column.offset;
    if (column.type == Type::kI64) {
      Store(step.GetReflection()->GetInt64(step, column.field), to);
    } else if (column.type == Type::kTime) {
      Store(absl::ToUnixMicros(ToTime(step.time())), to);
    } else {
      StoreReal(step, column, layout.zero_is_absent ? 0 : std::numeric_limits<double>::quiet_NaN(),
                to);
    }
  }
  Store(Crc({row.data(), layout.crc_offset()}), row.data() + layout.crc_offset());
  return row;
}

// False for a row that is being written, or that a crash cut short.
bool Counts(const char* row, const Layout& layout) {
  return Crc({row, layout.crc_offset()}) == Load<uint32_t>(row + layout.crc_offset());
}

// The reverse, by the layout in the file's header. Unknown columns are passed over.
v1::StepMetrics FromRow(const char* row, const Layout& layout) {
  v1::StepMetrics step;
  const auto* set = step.GetReflection();
  for (const Column& column : layout.columns) {
    const char* const from = row + column.offset;
    if (column.field == nullptr) continue;
    if (column.type == Type::kI64) {
      set->SetInt64(&step, column.field, Load<int64_t>(from));
    } else if (column.type == Type::kTime) {
      *step.mutable_time() = ToTimestamp(absl::FromUnixMicros(Load<int64_t>(from)));
    } else {
      const double value =
          column.type == Type::kF32 ? double{Load<float>(from)} : Load<double>(from);
      const bool absent = layout.zero_is_absent ? value == 0 : std::isnan(value);
      if (!column.field->has_presence() || !absent) set->SetDouble(&step, column.field, value);
    }
  }
  return step;
}

// An open log whose header was read.
struct OpenLog {
  Fd fd;
  Header header;
  Layout layout;

  off_t RowOffset(int64_t row) const {
    return static_cast<off_t>(header.header_bytes) +
           static_cast<off_t>(row) * static_cast<off_t>(layout.row_bytes);
  }
};

absl::Status NotOurs(const std::filesystem::path& path) {
  return absl::DataLossError(absl::StrCat(path.string(), " is not a step log of this release"));
}

// Reads the columns that follow the fixed part of a version 2 header.
absl::StatusOr<Layout> ReadColumns(int fd, const Header& header,
                                   const std::filesystem::path& path) {
  // Checked before the sizes are used: the file may be damaged.
  if (header.header_bytes < sizeof header || header.header_bytes > kMostHeaderBytes ||
      header.row_bytes > kMostRowBytes)
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

// Opens a log of either version. NOT_FOUND: the file is not there, or its header not yet.
absl::StatusOr<OpenLog> Open(const std::filesystem::path& path) {
  OpenLog log;
  FTD_ASSIGN_OR_RETURN(log.fd, OpenFile(path, O_RDONLY));
  Header& header = log.header;
  const ssize_t n = ::pread(log.fd.get(), &header, sizeof header, 0);
  if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
  if (n < static_cast<ssize_t>(sizeof header))
    return absl::NotFoundError(absl::StrCat(path.string(), " is being made"));
  if (header.magic == kMagic[0]) {
    log.layout = LayoutToWrite(1);
    header.header_bytes = sizeof header;
    if (header.row_bytes != log.layout.row_bytes) return NotOurs(path);
  } else if (header.magic == kMagic[1]) {
    FTD_ASSIGN_OR_RETURN(log.layout, ReadColumns(log.fd.get(), header, path));
  } else {
    return NotOurs(path);
  }
  return log;
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

absl::StatusOr<StepLogInfo> ReadStepLogInfo(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(const OpenLog log, Open(path));
  return StepLogInfo{log.header.first_step, log.header.steps_planned, log.header.heartbeat};
}

// Chunks of 512 rows: one system call for many steps, and no more memory for a long log.
absl::StatusOr<std::vector<v1::StepMetrics>> ReadSteps(const std::filesystem::path& path,
                                                       int64_t from, int64_t max_rows) {
  std::vector<v1::StepMetrics> steps;
  const auto log = Open(path);
  if (absl::IsNotFound(log.status())) return steps;
  if (!log.ok()) return log.status();
  const size_t row_bytes = log->layout.row_bytes;
  std::string chunk(512 * row_bytes, '\0');
  for (off_t offset = log->RowOffset(from);;) {
    const ssize_t n = ::pread(log->fd.get(), chunk.data(), chunk.size(), offset);
    if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
    const size_t whole = static_cast<size_t>(n) / row_bytes;
    for (size_t i = 0; i < whole; ++i) {
      const char* const row = chunk.data() + i * row_bytes;
      // No row after one that does not count is read, so the steps have no gap.
      if (!Counts(row, log->layout)) return steps;
      if (max_rows > 0 && static_cast<int64_t>(steps.size()) == max_rows) return steps;
      steps.push_back(FromRow(row, log->layout));
    }
    if (whole * row_bytes < chunk.size()) return steps;
    offset += static_cast<off_t>(chunk.size());
  }
}

absl::StatusOr<std::optional<v1::StepMetrics>> ReadLastStep(const std::filesystem::path& path) {
  const auto log = Open(path);
  if (absl::IsNotFound(log.status())) return std::nullopt;
  FTD_RETURN_IF_ERROR(log.status());
  struct stat status = {};
  if (::fstat(log->fd.get(), &status) != 0)
    return ErrnoError(errno, absl::StrCat("stat ", path.string()));
  // From the end: only the last row can be torn, so this reads one row or two.
  const auto rows = (status.st_size - log->RowOffset(0)) / log->layout.row_bytes;
  std::string row(log->layout.row_bytes, '\0');
  for (int64_t i = rows - 1; i >= 0; --i) {
    const ssize_t n = ::pread(log->fd.get(), row.data(), row.size(), log->RowOffset(i));
    if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
    if (n == static_cast<ssize_t>(row.size()) && Counts(row.data(), log->layout))
      return FromRow(row.data(), log->layout);
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

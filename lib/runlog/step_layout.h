// The bytes of a step log: its header, its columns, its rows. For the sources of step_log.h alone,
// which describes the format.
#pragma once

#include <cstdint>
#include <cstring>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "ftd/v1/job.pb.h"

namespace ftd::step_layout {

// In the file's bytes: "FTD STG1" and "FTD STG2".
inline constexpr uint64_t kMagic[] = {0x31475453'20445446, 0x32475453'20445446};
inline constexpr uint32_t kMostHeaderBytes = 1 << 16, kMostRowBytes = 1 << 12;

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

// "i64", "f64", "f32" and "us" (microseconds since 1970) in the header.
enum class Type { kI64, kF64, kF32, kTime };

struct Column {
  const google::protobuf::FieldDescriptor* field = nullptr;  // null: this release does not know it
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

uint32_t Crc(std::string_view bytes);

// Returns a CRC of those fields of a header that never change.
uint32_t Identity(const Header& header);

// Returns today's columns: one for each row of the table of metrics.
std::string ColumnsOfTable();

// Returns the layout that "NAME TYPE\n" lines describe. nullopt: not such lines. A name that this
// release does not know keeps its place and is not read.
std::optional<Layout> ParseColumns(std::string_view text, int32_t version);

// The layout in which a version is written. Lives forever.
const Layout& LayoutToWrite(int32_t version);

// Each column at its offset, then the CRC of all of them.
std::string ToRow(const v1::StepMetrics& step, const Layout& layout);

// False for a row that is being written, or that a crash cut short.
bool Counts(const char* row, const Layout& layout);

// The reverse of ToRow, by the layout in the file's header. Unknown columns are passed over.
v1::StepMetrics FromRow(const char* row, const Layout& layout);

// Returns the loss of a row; 0 without such a column.
double LossOf(const char* row, const Layout& layout);

}  // namespace ftd::step_layout

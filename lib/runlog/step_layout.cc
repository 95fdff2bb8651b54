#include "lib/runlog/step_layout.h"

#include <zlib.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/runlog/step_log.h"
#include "lib/runlog/step_metrics.h"
#include "lib/runlog/timestamp.h"

namespace ftd::step_layout {
namespace {

using google::protobuf::FieldDescriptor;

// Version 1's columns, in its order. Its files do not name them.
constexpr std::string_view kVersion1Columns =
    "step i64\nepoch f64\nloss f64\ngrad_norm f64\nlearning_rate f64\ntokens i64\n"
    "tokens_total i64\npadding_ratio f64\ntokens_per_second f64\nstep_seconds f64\n"
    "data_wait_seconds f64\nsamples i64\ntime us\nentropy f64\nmean_token_accuracy f64\nmfu f32\n";

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

// A real number of a row, as a double.
double LoadReal(const char* row, const Column& column) {
  const char* const from = row + column.offset;
  return column.type == Type::kF32 ? double{Load<float>(from)} : Load<double>(from);
}

}  // namespace

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

uint32_t Identity(const Header& header) {
  Header fixed = header;
  fixed.heartbeat = 0;
  return Crc({reinterpret_cast<const char*>(&fixed), sizeof fixed});
}

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

bool Counts(const char* row, const Layout& layout) {
  return Crc({row, layout.crc_offset()}) == Load<uint32_t>(row + layout.crc_offset());
}

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
      const double value = LoadReal(row, column);
      const bool absent = layout.zero_is_absent ? value == 0 : std::isnan(value);
      if (!column.field->has_presence() || !absent) set->SetDouble(&step, column.field, value);
    }
  }
  return step;
}

double LossOf(const char* row, const Layout& layout) {
  static const FieldDescriptor* const loss = v1::StepMetrics::descriptor()->FindFieldByName("loss");
  for (const Column& column : layout.columns) {
    if (column.field == loss) return LoadReal(row, column);
  }
  return 0;
}

}  // namespace ftd::step_layout

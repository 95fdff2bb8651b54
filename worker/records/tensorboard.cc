#include "worker/records/tensorboard.h"

#include <fcntl.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <string_view>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_replace.h"
#include "absl/time/clock.h"
#include "lib/base/error.h"
#include "lib/runlog/step_metrics.h"
#include "lib/runlog/timestamp.h"
#include "tensorboard/event.pb.h"

namespace ftd {
namespace {

// One entry per byte, reflected polynomial 0x82F63B78.
constexpr std::array<uint32_t, 256> MakeCrc32cTable() {
  std::array<uint32_t, 256> table{};
  for (uint32_t byte = 0; byte < 256; ++byte) {
    uint32_t crc = byte;
    for (int bit = 0; bit < 8; ++bit) crc = (crc >> 1) ^ (crc & 1 ? 0x82F63B78U : 0U);
    table[byte] = crc;
  }
  return table;
}

// Returns the CRC-32C (Castagnoli, RFC 3720). Written out because no library of Debian bookworm
// that ftd already links has it.
uint32_t Crc32c(std::string_view data) {
  static constexpr std::array<uint32_t, 256> kTable = MakeCrc32cTable();
  uint32_t crc = ~0U;
  for (const char c : data) crc = kTable[(crc ^ static_cast<uint8_t>(c)) & 0xFF] ^ (crc >> 8);
  return ~crc;
}

// Returns TFRecord's masked CRC-32C (tensorflow/core/lib/hash/crc32c.h), so that a CRC over data
// that contains CRCs stays sound.
uint32_t MaskedCrc(std::string_view data) {
  const uint32_t crc = Crc32c(data);
  return ((crc >> 15) | (crc << 17)) + 0xa282ead8U;
}

template <typename T>
void AppendRaw(std::string* out, T value) {
  out->append(reinterpret_cast<const char*>(&value), sizeof value);
}

double NowSeconds() { return static_cast<double>(absl::GetCurrentTimeNanos()) * 1e-9; }

}  // namespace

absl::StatusOr<TensorboardWriter> TensorboardWriter::Create(const std::filesystem::path& dir) {
  std::error_code error;
  std::filesystem::create_directories(dir, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("create ", dir.string()));
  // TensorBoard looks for "tfevents" in the name. The pid keeps two attempts of one second apart.
  const auto path = dir / absl::StrCat("events.out.tfevents.", static_cast<int64_t>(NowSeconds()),
                                       ".ftd.", ::getpid());
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_WRONLY | O_CREAT | O_APPEND));
  TensorboardWriter writer(std::move(fd), path);
  tensorboard::Event event;
  event.set_wall_time(NowSeconds());
  // The first record has to be this version.
  event.set_file_version("brain.Event:2");
  FTD_RETURN_IF_ERROR(writer.AppendRecord(event.SerializeAsString()));
  return writer;
}

// A point of the log: means over logging_steps, at the time of its last step.
absl::Status TensorboardWriter::Append(const v1::StepMetrics& point) {
  std::vector<Scalar> scalars;
  for (const StepMetric& metric : StepMetricsTable()) {
    const auto value = ValueIn(point, metric);
    if (metric.tensorboard != nullptr && value) scalars.emplace_back(metric.tensorboard, *value);
  }
  return AppendScalars(ToUnixDouble(ToTime(point.time())), point.step(), scalars);
}

absl::Status TensorboardWriter::Append(const v1::Evaluation& evaluation, absl::Time otherwise) {
  const absl::Time time = evaluation.has_time() ? ToTime(evaluation.time()) : otherwise;
  return AppendScalars(ToUnixDouble(time), evaluation.step(),
                       {{"eval/loss", evaluation.loss()},
                        {"eval/entropy", evaluation.entropy()},
                        {"eval/mean_token_accuracy", evaluation.mean_token_accuracy()},
                        {"eval/runtime", evaluation.seconds()}});
}

// TensorBoard shows Markdown: an indented block stays as it is.
absl::Status TensorboardWriter::Append(const v1::GeneratedSample& sample) {
  const auto block = [](const std::string& text) {
    return absl::StrCat("\n\n    ", absl::StrReplaceAll(text, {{"\n", "\n    "}}), "\n\n");
  };
  tensorboard::Event event;
  event.set_wall_time(ToUnixDouble(ToTime(sample.time())));
  event.set_step(sample.step());
  auto* entry = event.mutable_summary()->add_value();
  entry->set_tag(absl::StrCat("samples/", sample.index()));
  entry->mutable_metadata()->mutable_plugin_data()->set_plugin_name("text");
  constexpr int32_t kString = 7;  // DT_STRING
  entry->mutable_tensor()->set_dtype(kString);
  entry->mutable_tensor()->mutable_tensor_shape()->add_dim()->set_size(1);
  entry->mutable_tensor()->add_string_val(
      absl::StrCat("Prompt:", block(sample.prompt()), "Answer:", block(sample.text())));
  return AppendRecord(event.SerializeAsString());
}

// TensorBoard wants float32; the exact values are in metrics.jsonl.
absl::Status TensorboardWriter::AppendScalars(double wall_time, int64_t step,
                                              const std::vector<Scalar>& scalars) {
  tensorboard::Event event;
  event.set_wall_time(wall_time);
  event.set_step(step);
  for (const auto& [tag, value] : scalars) {
    auto* entry = event.mutable_summary()->add_value();
    entry->set_tag(tag);
    entry->set_simple_value(static_cast<float>(value));
  }
  return AppendRecord(event.SerializeAsString());
}

absl::Status TensorboardWriter::Sync() {
  if (::fsync(fd_.get()) == 0) return absl::OkStatus();
  return ErrnoError(errno, absl::StrCat("fsync ", path_.string()));
}

// TFRecord: u64 length, masked CRC of the length, payload, masked CRC of the payload;
// little-endian.
absl::Status TensorboardWriter::AppendRecord(const std::string& payload) {
  std::string record;
  AppendRaw(&record, static_cast<uint64_t>(payload.size()));
  AppendRaw(&record, MaskedCrc(record));
  record.append(payload);
  AppendRaw(&record, MaskedCrc(payload));
  return WriteAll(fd_.get(), record, path_);
}

}  // namespace ftd

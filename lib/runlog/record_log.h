// An append-only log of byte records that a reader in another process can follow while it grows.
//
// A payload is never empty: a tail that a crash filled with zeros would read as empty records.
//
// Format, little-endian: u32 length, u32 CRC-32 (zlib's) of the payload, payload. One write(2) a
// record. A record that is cut short or fails its CRC is the end of the log as far as a reader
// goes: at the tail it is a write in progress or a crash, and the writer never appends after one
// (each attempt has a log of its own).
#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/file.h"

namespace ftd {

// Largest payload, in bytes. A longer length field is corruption.
inline constexpr uint32_t kMaxRecordBytes = 1 << 20;

// Appends records. Not thread-safe.
class RecordLogWriter {
 public:
  // Creates the file; an existing one is an error.
  static absl::StatusOr<RecordLogWriter> Create(const std::filesystem::path& path);

  // Appends one record; with `sync`, returns after fsync.
  absl::Status Append(std::string_view payload, bool sync);

 private:
  RecordLogWriter(Fd fd, std::filesystem::path path) : fd_(std::move(fd)), path_(std::move(path)) {}
  Fd fd_;
  std::filesystem::path path_;
};

// The records that ReadRecords found.
struct RecordBatch {
  std::vector<std::string> payloads;
  uint64_t next_offset = 0;  // where the next call goes on: behind the last whole record
};

// Reads the whole records from byte `offset` on. A file that does not exist yet has no records.
// `max_records` bounds the batch; 0: no bound.
absl::StatusOr<RecordBatch> ReadRecords(const std::filesystem::path& path, uint64_t offset,
                                        size_t max_records = 0);

}  // namespace ftd

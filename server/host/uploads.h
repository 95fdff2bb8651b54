// Dataset files by content: uploads/<sha256>, each stored once.
#pragma once

#include <cstdint>
#include <filesystem>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"

namespace ftd {

// True for 64 digits of lower-case hex: the only names that ever reach the file system.
bool IsSha256(std::string_view text);

// Makes an upload count as sent now, if it is there: retention goes by that.
void Touch(const std::filesystem::path& upload);

// One file on its way in: written beside its place under a temporary name, which is removed unless
// Finish succeeds. Not thread-safe.
class Upload {
 public:
  // INVALID_ARGUMENT FIELD_INVALID for a bad name or size; RESOURCE_EXHAUSTED DISK_RESERVE when it
  // cannot fit.
  static absl::StatusOr<std::unique_ptr<Upload>> Begin(const std::filesystem::path& uploads,
                                                       const std::string& sha256,
                                                       int64_t size_bytes);
  ~Upload();

  // The file is there already: nothing needs to be sent.
  bool already_present() const { return already_present_; }
  // INVALID_ARGUMENT when more comes than was announced.
  absl::Status Append(std::string_view data);
  // Checks size and hash, makes the file durable and puts it in its place. DATA_LOSS HASH_MISMATCH.
  absl::Status Finish();

 private:
  Upload() = default;
  std::filesystem::path final_path_;
  std::string sha256_;
  int64_t size_bytes_ = 0;
  int64_t received_ = 0;
  bool already_present_ = false;
  std::string temporary_path_;  // empty: none
  Fd file_;
  Sha256 hash_;
};

// Removes what interrupted uploads left. Called at start-up.
void RemoveStaleUploads(const std::filesystem::path& uploads);

}  // namespace ftd

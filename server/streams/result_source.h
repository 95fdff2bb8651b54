// DownloadResult's stream: a published result, or a form of it, file by file.
#pragma once

#include <cstdint>
#include <deque>
#include <filesystem>
#include <memory>
#include <optional>

#include "absl/status/statusor.h"
#include "ftd/v1/fine_tuning.pb.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"
#include "server/host/stream_source.h"

namespace ftd {

// Reads one file at a time, so that its memory is one piece, however large the result is.
class ResultSource : public StreamSource<v1::DownloadResultResponse> {
 public:
  // `root`: the result's directory. DATA_LOSS RESULT_MISSING when it is gone.
  static absl::StatusOr<std::unique_ptr<ResultSource>> Open(const std::filesystem::path& root);

  absl::StatusOr<std::optional<v1::DownloadResultResponse>> Next() override;
  bool AtEnd() const override { return files_.empty() && !file_.valid(); }

 private:
  explicit ResultSource(std::filesystem::path root) : root_(std::move(root)) {}
  // First message of a file, then the others up to its SHA-256.
  absl::StatusOr<v1::DownloadResultResponse> StartFile();
  absl::StatusOr<v1::DownloadResultResponse> ContinueFile();

  const std::filesystem::path root_;
  std::deque<std::filesystem::path> files_;  // still to be sent, relative, sorted
  std::filesystem::path path_;               // of the open file
  Fd file_;
  int64_t left_ = 0;
  std::optional<Sha256> hash_;
};

}  // namespace ftd

#include "server/streams/log_source.h"

#include <fcntl.h>
#include <unistd.h>

#include <algorithm>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "server/attempts/attempt_files.h"
#include "server/attempts/log_bound.h"
#include "server/jobs/job_states.h"

namespace ftd {
namespace {

constexpr size_t kLogChunk = 64 << 10;

// Returns the offset at which the last `lines` lines of a file begin; 0, for the whole file, if
// `lines` is 0. Reads backwards, so that a long log costs no more than its tail.
int64_t OffsetOfLastLines(const std::filesystem::path& path, int64_t lines) {
  const auto fd = OpenFile(path, O_RDONLY);
  if (!fd.ok() || lines == 0) return 0;
  int64_t end = lseek(fd->get(), 0, SEEK_END) - 1;  // a line break at the very end starts no line
  std::string chunk(kLogChunk, '\0');
  while (end > 0) {
    const int64_t begin = std::max<int64_t>(0, end - static_cast<int64_t>(chunk.size()));
    const ssize_t size = pread(fd->get(), chunk.data(), static_cast<size_t>(end - begin), begin);
    for (ssize_t i = size - 1; i >= 0; --i) {
      if (chunk[static_cast<size_t>(i)] == '\n' && --lines == 0) return begin + i + 1;
    }
    end = begin;
  }
  return 0;
}

// Where the first whole line from `offset` on begins: a log is shortened anywhere in a line.
int64_t NextLine(int log, int64_t offset) {
  std::string chunk(kLogChunk, '\0');
  const ssize_t size = pread(log, chunk.data(), chunk.size(), offset);
  if (size <= 0) return offset;
  const size_t end = chunk.substr(0, static_cast<size_t>(size)).find('\n');
  return end == std::string::npos ? offset : offset + static_cast<int64_t>(end) + 1;
}

}  // namespace

absl::StatusOr<std::unique_ptr<LogSource>> LogSource::Open(JobStore& store,
                                                           const StateDir& state_dir,
                                                           const v1::TailLogRequest& request) {
  FTD_ASSIGN_OR_RETURN(const Job job, store.Get(request.job()));
  FTD_ASSIGN_OR_RETURN(const auto attempts, store.Attempts(job.id));
  const int32_t newest = attempts.empty() ? 0 : attempts.back().number;
  if (request.attempt() < 0 || request.attempt() > newest) {
    return FieldError(
        {{"attempt", absl::StrCat("must be 0 to ", newest, "; got ", request.attempt())}});
  }
  if (request.lines() < 0) return FieldError({{"lines", "must not be negative"}});
  auto source = std::unique_ptr<LogSource>(new LogSource(store, state_dir));
  source->job_id_ = job.id;
  source->follow_ = request.follow();
  source->only_this_attempt_ = request.attempt() > 0;
  // A job that was never started has no log yet; with `follow` its first attempt's will be attempt
  // 1.
  source->attempt_ = request.attempt() > 0 ? request.attempt() : std::max(newest, 1);
  source->offset_ = OffsetOfLastLines(state_dir.AttemptDir(job.id, source->attempt_) / kWorkerLog,
                                      request.lines());
  return source;
}

// Opens the file for each message, so that a stream that waits for news holds no descriptor.
// Without a file nothing was written yet; without a descriptor that cannot be told.
absl::StatusOr<std::optional<v1::TailLogResponse>> LogSource::Read() {
  const auto fd = OpenFile(state_dir_.AttemptDir(job_id_, attempt_) / kWorkerLog, O_RDONLY);
  if (absl::IsUnavailable(fd.status())) return fd.status();
  if (!fd.ok()) return std::nullopt;
  v1::TailLogResponse message;
  std::string& data = *message.mutable_data();
  if (const int64_t kept = KeptFrom(fd->get(), offset_); kept > offset_) {
    const int64_t line = NextLine(fd->get(), kept);
    data = absl::StrCat("[ftd: ", line - offset_, " bytes of older lines were left out]\n");
    offset_ = line;
    return message;
  }
  data.resize(kLogChunk);
  const ssize_t size = pread(fd->get(), data.data(), data.size(), offset_);
  if (size <= 0) return std::nullopt;
  data.resize(static_cast<size_t>(size));
  offset_ += size;
  return message;
}

absl::StatusOr<std::optional<v1::TailLogResponse>> LogSource::Next() {
  while (true) {
    // Asked before the log is read: if the attempt was over by then, this read sees all of its log.
    FTD_ASSIGN_OR_RETURN(const Job job, store_.Get(job_id_));
    FTD_ASSIGN_OR_RETURN(const auto attempts, store_.Attempts(job_id_));
    FTD_ASSIGN_OR_RETURN(auto message, Read());
    if (message.has_value()) return message;
    const int32_t newest = attempts.empty() ? 0 : attempts.back().number;
    // Only after everything of this attempt was read.
    if (follow_ && !only_this_attempt_ && attempt_ < newest) {
      ++attempt_;
      offset_ = 0;
      continue;
    }
    // A retry may follow as long as the job is not final, unless only this attempt was asked for.
    at_end_ = !follow_ || IsFinal(job.state) ||
              (only_this_attempt_ && (attempt_ < newest || !IsActive(job.state)));
    return std::nullopt;
  }
}

}  // namespace ftd

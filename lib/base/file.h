// Files: owned descriptors, whole-file reads, durable writes, read-only maps.
//
// Errors are ErrnoError's: they name the path and the call.
#pragma once

#include <cstddef>
#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace ftd {

// Owns a file descriptor. Movable; closes in the destructor.
class Fd {
 public:
  Fd() = default;
  explicit Fd(int fd) : fd_(fd) {}
  Fd(Fd&& other) noexcept : fd_(std::exchange(other.fd_, -1)) {}
  Fd& operator=(Fd&& other) noexcept;
  ~Fd() { Reset(); }

  int get() const { return fd_; }
  bool valid() const { return fd_ >= 0; }
  int Release() { return std::exchange(fd_, -1); }
  void Reset();

 private:
  int fd_ = -1;
};

// In the name of everything that is still being written; after a crash it is of no use to anybody.
inline constexpr char kUnfinishedMark[] = ".tmp-";

// open(2) with O_CLOEXEC added.
absl::StatusOr<Fd> OpenFile(const std::filesystem::path& path, int flags, unsigned mode = 0644);

// write(2) until all is written.
absl::Status WriteAll(int fd, std::string_view data,
                      const std::filesystem::path& path_for_messages);

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path);
// From an open file's position to its end.
absl::StatusOr<std::string> ReadFile(const Fd& fd, const std::filesystem::path& path_for_messages);

// Writes `path` so that after any crash it holds the old bytes or the new ones: temporary file,
// fsync, rename, fsync of the directory. A crash may leave the temporary file; it lies in
// `scratch_dir`, which has to be on the file system of `path`, or else in the directory of `path`.
absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view data,
                                 const std::filesystem::path& scratch_dir = {});

// fsync of a file or directory, by path.
absl::Status SyncPath(const std::filesystem::path& path);

// rename(2), then fsync of the destination's directory.
absl::Status RenameDurably(const std::filesystem::path& from, const std::filesystem::path& to);

// A directory that is filled and then renamed to its place. Removed with all that is in it when it
// goes out of scope before that, so a failure leaves nothing behind.
class ScratchDir {
 public:
  // Makes an empty directory at `path`; what a crash left there is removed first.
  static absl::StatusOr<ScratchDir> Create(const std::filesystem::path& path);
  ScratchDir(ScratchDir&& other) noexcept : path_(std::exchange(other.path_, {})) {}
  ScratchDir& operator=(ScratchDir&& other) = delete;
  ~ScratchDir();

  const std::filesystem::path& path() const { return path_; }

 private:
  explicit ScratchDir(std::filesystem::path path) : path_(std::move(path)) {}
  std::filesystem::path path_;
};

// A whole file mapped read-only. Unmapped in the destructor. An empty file gives an empty view.
class MappedFile {
 public:
  static absl::StatusOr<MappedFile> Open(const std::filesystem::path& path);
  // The descriptor may be closed afterwards.
  static absl::StatusOr<MappedFile> Map(const Fd& fd,
                                        const std::filesystem::path& path_for_messages);
  MappedFile(MappedFile&& other) noexcept;
  MappedFile& operator=(MappedFile&& other) noexcept;
  ~MappedFile();

  std::string_view bytes() const { return {data_, size_}; }

 private:
  MappedFile(const char* data, size_t size) : data_(data), size_(size) {}
  const char* data_ = nullptr;
  size_t size_ = 0;
};

// Gives back the memory of the whole pages of a part of a mapped file; a later access reads them
// again.
void ReleasePages(std::string_view mapped);

}  // namespace ftd

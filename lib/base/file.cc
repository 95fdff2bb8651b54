#include "lib/base/file.h"

#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {

Fd& Fd::operator=(Fd&& other) noexcept {
  if (this != &other) {
    Reset();
    fd_ = std::exchange(other.fd_, -1);
  }
  return *this;
}

void Fd::Reset() {
  if (fd_ >= 0) ::close(fd_);
  fd_ = -1;
}

// O_CLOEXEC always: a child must not inherit a lock or a socket.
absl::StatusOr<Fd> OpenFile(const std::filesystem::path& path, int flags, unsigned mode) {
  int fd = ::open(path.c_str(), flags | O_CLOEXEC, mode);
  if (fd < 0) return ErrnoError(errno, absl::StrCat("open ", path.string()));
  return Fd(fd);
}

// write(2) may take fewer bytes than it is given, as when the disk is nearly full.
absl::Status WriteAll(int fd, std::string_view data,
                      const std::filesystem::path& path_for_messages) {
  while (!data.empty()) {
    ssize_t n = ::write(fd, data.data(), data.size());
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, absl::StrCat("write ", path_for_messages.string()));
    data.remove_prefix(static_cast<size_t>(n));
  }
  return absl::OkStatus();
}

absl::StatusOr<std::string> ReadFile(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(const Fd fd, OpenFile(path, O_RDONLY));
  return ReadFile(fd, path);
}

absl::StatusOr<std::string> ReadFile(const Fd& fd, const std::filesystem::path& path) {
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoError(errno, absl::StrCat("stat ", path.string()));
  std::string data;
  // The size is a hint: files in /proc say 0.
  if (info.st_size > 0) data.reserve(static_cast<size_t>(info.st_size));
  char buffer[1 << 16];
  for (;;) {
    ssize_t n = ::read(fd.get(), buffer, sizeof buffer);
    if (n < 0 && errno == EINTR) continue;
    if (n < 0) return ErrnoError(errno, absl::StrCat("read ", path.string()));
    if (n == 0) return data;
    data.append(buffer, static_cast<size_t>(n));
  }
}

absl::Status SyncPath(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(path, O_RDONLY));
  if (::fsync(fd.get()) != 0) return ErrnoError(errno, absl::StrCat("fsync ", path.string()));
  return absl::OkStatus();
}

// A rename is on disk once its directory is.
absl::Status RenameDurably(const std::filesystem::path& from, const std::filesystem::path& to) {
  if (::rename(from.c_str(), to.c_str()) != 0) {
    return ErrnoError(errno, absl::StrCat("rename ", from.string(), " to ", to.string()));
  }
  return SyncPath(to.has_parent_path() ? to.parent_path() : ".");
}

// Written beside its place and renamed: a reader sees the old file or the new one, whole. The pid
// keeps two processes apart; two threads must not write the same path.
absl::Status WriteFileAtomically(const std::filesystem::path& path, std::string_view data,
                                 const std::filesystem::path& scratch_dir) {
  std::filesystem::path temporary = scratch_dir.empty() ? path : scratch_dir / path.filename();
  temporary += absl::StrCat(kUnfinishedMark, ::getpid());
  absl::Status written = [&]() -> absl::Status {
    FTD_ASSIGN_OR_RETURN(Fd fd, OpenFile(temporary, O_WRONLY | O_CREAT | O_TRUNC));
    FTD_RETURN_IF_ERROR(WriteAll(fd.get(), data, temporary));
    if (::fsync(fd.get()) != 0)
      return ErrnoError(errno, absl::StrCat("fsync ", temporary.string()));
    return RenameDurably(temporary, path);
  }();
  if (!written.ok()) ::unlink(temporary.c_str());
  return written;
}

// Whatever a killed process left under this name goes first.
absl::StatusOr<ScratchDir> ScratchDir::Create(const std::filesystem::path& path) {
  std::error_code error;
  std::filesystem::remove_all(path, error);
  if (!error) std::filesystem::create_directory(path, error);
  if (error) return ErrnoError(error.value(), absl::StrCat("create ", path.string()));
  return ScratchDir(path);
}

ScratchDir::~ScratchDir() {
  std::error_code ignored;
  if (!path_.empty()) std::filesystem::remove_all(path_, ignored);
}

absl::StatusOr<MappedFile> MappedFile::Open(const std::filesystem::path& path) {
  FTD_ASSIGN_OR_RETURN(const Fd fd, OpenFile(path, O_RDONLY));
  return Map(fd, path);
}

absl::StatusOr<MappedFile> MappedFile::Map(const Fd& fd, const std::filesystem::path& path) {
  struct stat info;
  if (::fstat(fd.get(), &info) != 0) return ErrnoError(errno, absl::StrCat("stat ", path.string()));
  if (!S_ISREG(info.st_mode)) {
    return absl::InvalidArgumentError(absl::StrCat(path.string(), " is not a regular file"));
  }
  auto size = static_cast<size_t>(info.st_size);
  // mmap refuses a length of 0.
  if (size == 0) return MappedFile(nullptr, 0);
  void* data = ::mmap(nullptr, size, PROT_READ, MAP_PRIVATE, fd.get(), 0);
  if (data == MAP_FAILED) return ErrnoError(errno, absl::StrCat("mmap ", path.string()));
  return MappedFile(static_cast<const char*>(data), size);
}

MappedFile::MappedFile(MappedFile&& other) noexcept
    : data_(std::exchange(other.data_, nullptr)), size_(std::exchange(other.size_, 0)) {}

MappedFile& MappedFile::operator=(MappedFile&& other) noexcept {
  std::swap(data_, other.data_);
  std::swap(size_, other.size_);
  return *this;
}

MappedFile::~MappedFile() {
  if (data_ != nullptr) ::munmap(const_cast<char*>(data_), size_);
}

// Only whole pages inside the range: others share their page with bytes that are still needed.
void ReleasePages(std::string_view mapped) {
  const auto page = static_cast<uintptr_t>(::sysconf(_SC_PAGESIZE));
  const auto address = reinterpret_cast<uintptr_t>(mapped.data());
  const uintptr_t begin = (address + page - 1) / page * page;
  const uintptr_t end = (address + mapped.size()) / page * page;
  if (begin >= end) return;
  ::madvise(const_cast<char*>(mapped.data()) + (begin - address), end - begin, MADV_DONTNEED);
}

}  // namespace ftd

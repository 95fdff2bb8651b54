#include "client/rpc/download.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>

#include <memory>
#include <optional>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_split.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using ftd::v1::DownloadResultResponse;

absl::Status DamagedResult(absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat("the result arrived damaged: ", what, "; nothing was kept, try again"));
}

// Paths come from the server; each must lie below the directory.
bool StaysInside(const std::string& path) {
  if (path.find('\0') != std::string::npos) return false;
  for (absl::string_view part : absl::StrSplit(path, '/')) {
    if (part.empty() || part == "." || part == "..")
      return false;  // "" also stands before a leading '/'
  }
  return true;
}

// Turns the messages of the stream into files below `root`. For each file: header, data, SHA-256.
class FileWriter {
 public:
  explicit FileWriter(fs::path root) : root_(std::move(root)) {}

  absl::Status Take(const DownloadResultResponse& message) {
    switch (message.part_case()) {
      case DownloadResultResponse::kFile:
        return Begin(message.file());
      case DownloadResultResponse::kData:
        return Append(message.data());
      case DownloadResultResponse::kSha256:
        return End(message.sha256());
      default:
        return absl::OkStatus();  // a newer server's message
    }
  }

  // Checks that the stream did not end too early.
  absl::Status Finish() const {
    if (fd_.valid()) return DamagedResult(absl::StrCat("it ends within ", name_));
    if (files_ == 0) return DamagedResult("it holds no file");
    return absl::OkStatus();
  }

 private:
  absl::Status Begin(const DownloadResultResponse::FileHeader& header) {
    if (fd_.valid()) return DamagedResult(absl::StrCat(name_, " ends without its sha256"));
    name_ = header.path();
    if (!StaysInside(name_)) {
      return Error(Reason::kPathRefused,
                   absl::StrCat("the server sent a file named '", name_,
                                "', which lies outside the result; nothing was kept"));
    }
    size_ = header.size_bytes();
    sha256_.emplace();
    std::error_code error;
    fs::create_directories((root_ / name_).parent_path(), error);
    if (error) {
      return ErrnoError(error.value(),
                        absl::StrCat("mkdir ", (root_ / name_).parent_path().string()));
    }
    // O_EXCL and O_NOFOLLOW: a path that the server sends twice, or a link, is refused.
    FTD_ASSIGN_OR_RETURN(fd_, OpenFile(root_ / name_, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW));
    return absl::OkStatus();
  }

  absl::Status Append(const std::string& data) {
    if (!fd_.valid()) return DamagedResult("bytes that belong to no file");
    size_ -= static_cast<int64_t>(data.size());
    sha256_->Update(data);
    return WriteAll(fd_.get(), data, root_ / name_);
  }

  absl::Status End(const std::string& sha256) {
    if (!fd_.valid()) return DamagedResult("a sha256 that belongs to no file");
    if (size_ != 0 || sha256_->HexDigest() != sha256)
      return DamagedResult(absl::StrCat(name_, " has other bytes"));
    fd_.Reset();
    ++files_;
    return SyncPath(root_ / name_);
  }

  fs::path root_;
  std::string name_;
  int64_t size_ = 0;  // bytes still to come
  std::optional<Sha256> sha256_;
  Fd fd_;
  int files_ = 0;
};

absl::Status Receive(Connection& connection, const v1::DownloadResultRequest& request,
                     const fs::path& part) {
  grpc::ClientContext context;
  auto reader = connection.stub().DownloadResult(&context, request);
  FileWriter writer(part);
  absl::Status local;
  DownloadResultResponse message;
  // After a local error the rest of the stream is not read.
  while (local.ok() && reader->Read(&message)) local = writer.Take(message);
  if (!local.ok()) context.TryCancel();
  const grpc::Status remote = reader->Finish();
  if (!local.ok()) return local;
  FTD_RETURN_IF_ERROR(connection.ToStatus(remote));
  return writer.Finish();
}

// Makes an empty directory to write into, without what an earlier download left.
absl::Status MakePart(const fs::path& part) {
  std::error_code error;
  fs::remove_all(part, error);
  if (!error) fs::create_directories(part, error);
  return error ? ErrnoError(error.value(), absl::StrCat("mkdir ", part.string()))
               : absl::OkStatus();
}

}  // namespace

// Judged before the download, so that an hour's transfer is not lost to a wrong name.
absl::Status CheckResultDirectory(const fs::path& directory) {
  std::error_code error;
  if (fs::equivalent(directory, ".", error)) {
    return Error(Reason::kPathNotWritable,
                 absl::StrCat(directory.string(), " is the working directory; name a new one"));
  }
  const fs::file_status status = fs::symlink_status(directory, error);
  if (status.type() == fs::file_type::not_found) return absl::OkStatus();
  if (fs::is_directory(status) && fs::is_empty(directory, error) && !error) return absl::OkStatus();
  return Error(Reason::kPathNotWritable,
               absl::StrCat(directory.string(),
                            " exists already and is not an empty directory; name another one"));
}

// Into DIR.part and renamed: DIR has the whole result or does not appear.
absl::Status DownloadResult(Connection& connection, const v1::DownloadResultRequest& request,
                            const fs::path& directory) {
  FTD_RETURN_IF_ERROR(CheckResultDirectory(directory));
  const fs::path home =
      directory.has_filename() ? directory : directory.parent_path();  // "out/" is "out"
  const fs::path part = home.string() + ".part";
  absl::Status status = MakePart(part);
  if (status.ok()) status = Receive(connection, request, part);
  if (status.ok()) status = RenameDurably(part, home);
  std::error_code ignored;
  if (!status.ok()) fs::remove_all(part, ignored);
  return status;
}

absl::Status DownloadResult(Connection& connection, const std::string& job,
                            const fs::path& directory) {
  v1::DownloadResultRequest request;
  request.set_job(job);
  return DownloadResult(connection, request, directory);
}

}  // namespace ftd

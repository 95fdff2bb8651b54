#include "client/rpc/backup.h"

#include <fcntl.h>
#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>
#include <utility>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/sha256.h"

namespace ftd {
namespace {

using ftd::v1::BackUpDatabaseResponse;

absl::Status DamagedBackup(absl::string_view what) {
  return absl::DataLossError(
      absl::StrCat("the backup arrived damaged: ", what, "; nothing was kept, try again"));
}

// What has come so far.
struct Received {
  int64_t announced = -1;  // bytes
  int64_t bytes = 0;
  Sha256 hash;
  bool whole = false;
};

absl::Status Take(const BackUpDatabaseResponse& message, const Fd& file, const std::string& name,
                  Received& received) {
  switch (message.part_case()) {
    case BackUpDatabaseResponse::kSizeBytes:
      received.announced = message.size_bytes();
      return absl::OkStatus();
    case BackUpDatabaseResponse::kData:
      received.bytes += static_cast<int64_t>(message.data().size());
      received.hash.Update(message.data());
      return WriteAll(file.get(), message.data(), name);
    case BackUpDatabaseResponse::kSha256:
      if (received.bytes != received.announced) return DamagedBackup("bytes are missing");
      if (received.hash.HexDigest() != message.sha256()) return DamagedBackup("it has other bytes");
      received.whole = true;
      return absl::OkStatus();
    default:
      return absl::OkStatus();  // a newer server's message
  }
}

absl::StatusOr<int64_t> Receive(Connection& connection, const Fd& file, const std::string& name) {
  Received received;
  grpc::ClientContext context;
  auto reader = connection.stub().BackUpDatabase(&context, {});
  BackUpDatabaseResponse message;
  absl::Status local;
  // After a local error the rest of the stream is not read.
  while (local.ok() && reader->Read(&message)) local = Take(message, file, name, received);
  if (!local.ok()) context.TryCancel();
  const grpc::Status remote = reader->Finish();
  FTD_RETURN_IF_ERROR(local);
  FTD_RETURN_IF_ERROR(connection.ToStatus(remote));
  if (!received.whole) return DamagedBackup("it ends too early");
  return received.bytes;
}

}  // namespace

absl::StatusOr<int64_t> BackUpDatabase(Connection& connection, const std::filesystem::path& file) {
  std::string name = absl::StrCat(file.native(), kUnfinishedMark, "XXXXXX");
  const Fd part(mkostemp(name.data(), O_CLOEXEC));  // mode 0600
  if (!part.valid()) return ErrnoError(errno, "create " + name);
  absl::Cleanup unlink_it = [&] { unlink(name.c_str()); };
  FTD_ASSIGN_OR_RETURN(const int64_t bytes, Receive(connection, part, name));
  if (fsync(part.get()) != 0) return ErrnoError(errno, "fsync " + name);
  FTD_RETURN_IF_ERROR(RenameDurably(name, file));
  std::move(unlink_it).Cancel();
  return bytes;
}

}  // namespace ftd

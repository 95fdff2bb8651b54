#include "server/jobs/database_copy.h"

#include <fcntl.h>
#include <sqlite3.h>
#include <unistd.h>

#include <cerrno>
#include <cstdlib>
#include <memory>
#include <string>

#include "absl/cleanup/cleanup.h"
#include "absl/strings/str_cat.h"
#include "lib/base/error.h"

namespace ftd {
namespace {

constexpr int kPagesAtOnce = 1024;
constexpr int kBusyMs = 5000;

struct Close {
  void operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
};
using Connection = std::unique_ptr<sqlite3, Close>;

absl::Status CopyError(int code) {
  const std::string message = absl::StrCat("cannot copy the database: ", sqlite3_errstr(code));
  switch (code & 0xff) {
    case SQLITE_FULL:
      return Error(Reason::kDiskFull, message + "; free space in the state directory");
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(Reason::kDbBusy, message + "; try again");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(Reason::kDbCorrupt, message);
    default:
      return Error(Reason::kDbIo, message + "; try again");
  }
}

absl::StatusOr<Connection> Open(const std::string& path, const char* setup) {
  sqlite3* opened = nullptr;
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX;
  int code = sqlite3_open_v2(path.c_str(), &opened, flags, nullptr);
  Connection connection(opened);
  if (code == SQLITE_OK) sqlite3_busy_timeout(opened, kBusyMs);
  if (code == SQLITE_OK) code = sqlite3_exec(opened, setup, nullptr, nullptr, nullptr);
  if (code != SQLITE_OK) return CopyError(code);
  return connection;
}

absl::Status Copy(sqlite3* from, sqlite3* to, const std::function<bool()>& go_on) {
  sqlite3_backup* backup = sqlite3_backup_init(to, "main", from, "main");
  if (backup == nullptr) return CopyError(sqlite3_errcode(to));
  int code = SQLITE_OK;
  while (code == SQLITE_OK && go_on()) code = sqlite3_backup_step(backup, kPagesAtOnce);
  sqlite3_backup_finish(backup);
  if (code == SQLITE_DONE) return absl::OkStatus();
  return code == SQLITE_OK ? absl::CancelledError("the copy was broken off") : CopyError(code);
}

}  // namespace

absl::StatusOr<Fd> CopyDatabase(const std::filesystem::path& path,
                                const std::filesystem::path& scratch_dir,
                                const std::function<bool()>& go_on) {
  std::string name = scratch_dir / absl::StrCat(kUnfinishedMark, "backup-XXXXXX");
  Fd copy(mkostemp(name.data(), O_CLOEXEC));  // mode 0600
  if (!copy.valid()) return ErrnoError(errno, "create " + name);
  const absl::Cleanup unlink_it = [&] { unlink(name.c_str()); };
  // The transaction keeps the moment: without it each commit would restart the copy.
  FTD_ASSIGN_OR_RETURN(const Connection from,
                       Open(path, "BEGIN; SELECT count(*) FROM sqlite_schema"));
  // Nobody needs a copy that was broken off, so it has no journal.
  FTD_ASSIGN_OR_RETURN(const Connection to,
                       Open(name, "PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF"));
  FTD_RETURN_IF_ERROR(Copy(from.get(), to.get(), go_on));
  return copy;
}

}  // namespace ftd

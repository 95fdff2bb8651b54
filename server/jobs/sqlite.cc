#include "server/jobs/sqlite.h"

#include <sqlite3.h>

#include <chrono>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/utf8.h"

namespace ftd {
namespace {

// Maps a result code to a reason. The lowest byte is the primary code, the rest says more. `after`
// is what a caller may count on after an error of input or output.
absl::Status SqliteError(sqlite3* connection, const std::string& what,
                         const char* after = "try again") {
  const int code = sqlite3_extended_errcode(connection);
  const std::string message = absl::StrCat("database: ", what, ": ", sqlite3_errmsg(connection));
  switch (code & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
      return Error(Reason::kDbBusy, message + "; try again");
    case SQLITE_IOERR:
      return Error(Reason::kDbIo, absl::StrCat(message, "; ", after));
    case SQLITE_FULL:
      return Error(Reason::kDiskFull, message + "; free space in the state directory");
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
      return Error(Reason::kDbCorrupt, message + "; restore ftd.db from a backup");
    case SQLITE_CONSTRAINT:
      return Error(Reason::kInternal,
                   // ALREADY_EXISTS for a row that is there already. A breach of any other
                   // constraint is our error.
                   code == SQLITE_CONSTRAINT_UNIQUE || code == SQLITE_CONSTRAINT_PRIMARYKEY
                       ? absl::StatusCode::kAlreadyExists
                       : absl::StatusCode::kInternal,
                   message);
    case SQLITE_CANTOPEN:
    case SQLITE_READONLY:
    case SQLITE_PERM:
      return Error(Reason::kPathNotWritable, message);
    default:
      return Error(Reason::kInternal, message);
  }
}

}  // namespace

Statement::Statement(Statement&& other) noexcept
    : statement_(std::exchange(other.statement_, nullptr)), bound_(other.bound_) {}

// The statement stays prepared for its next use. Without the reset it would hold its read
// transaction open, and the WAL file could not be checkpointed.
Statement::~Statement() {
  if (statement_ == nullptr) return;
  sqlite3_reset(statement_);
  sqlite3_clear_bindings(statement_);
}

Statement& Statement::Bind(int64_t value) {
  sqlite3_bind_int64(statement_, ++bound_, value);
  return *this;
}

Statement& Statement::Bind(std::string_view value) {
  // A null pointer would bind NULL; an empty view may hold one.
  // SQLITE_TRANSIENT copies: the caller's string may be gone when the statement runs.
  sqlite3_bind_text(statement_, ++bound_, value.empty() ? "" : value.data(),
                    static_cast<int>(value.size()), SQLITE_TRANSIENT);
  return *this;
}

Statement& Statement::Bind(std::optional<int32_t> value) {
  return value.has_value() ? Bind(static_cast<int64_t>(*value)) : BindNull();
}

Statement& Statement::BindTime(std::optional<absl::Time> time) {
  return Bind(time.has_value() ? absl::ToUnixMicros(*time) : 0);
}

Statement& Statement::BindNull() {
  sqlite3_bind_null(statement_, ++bound_);
  return *this;
}

absl::StatusOr<bool> Statement::Step() {
  switch (sqlite3_step(statement_)) {
    case SQLITE_ROW:
      return true;
    case SQLITE_DONE:
      return false;
    default:
      return SqliteError(sqlite3_db_handle(statement_), "cannot run a statement");
  }
}

absl::Status Statement::Run() { return Step().status(); }

int64_t Statement::Int(int column) const { return sqlite3_column_int64(statement_, column); }

// The size counts, not a NUL: texts may contain one. Earlier releases stored a worker's last words
// as they came, and a text that is not UTF-8 makes the message that holds it unreadable.
std::string Statement::Text(int column) const {
  const auto* text = reinterpret_cast<const char*>(sqlite3_column_text(statement_, column));
  if (text == nullptr) return "";
  return RepairUtf8({text, static_cast<size_t>(sqlite3_column_bytes(statement_, column))});
}

std::optional<int32_t> Statement::OptionalInt(int column) const {
  if (sqlite3_column_type(statement_, column) == SQLITE_NULL) return std::nullopt;
  return sqlite3_column_int(statement_, column);
}

std::optional<absl::Time> Statement::Time(int column) const {
  const int64_t micros = Int(column);
  if (micros == 0) return std::nullopt;
  return absl::FromUnixMicros(micros);
}

void Database::Close::operator()(sqlite3* connection) const { sqlite3_close_v2(connection); }
void Database::Finalize::operator()(sqlite3_stmt* statement) const { sqlite3_finalize(statement); }

absl::StatusOr<Database> Database::Open(const std::string& path) {
  sqlite3* connection = nullptr;
  // NOMUTEX: each connection is used under a lock of the job store's.
  const int flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_NOMUTEX;
  const int code = sqlite3_open_v2(path.c_str(), &connection, flags, nullptr);
  Database database(connection);
  if (code != SQLITE_OK) return SqliteError(connection, "cannot open " + path);
  sqlite3_extended_result_codes(connection, 1);
  // Another process (a backup, the sqlite3 shell) may hold the database for a moment.
  sqlite3_busy_timeout(connection, 5000);
  FTD_RETURN_IF_ERROR(database.Execute(
      // synchronous = FULL: in WAL mode each commit is flushed, so an acknowledged job survives a
      // power cut.
      "PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA foreign_keys = ON"));
  return database;
}

absl::Status Database::Execute(const std::string& sql, const char* after_io_error) {
  if (sqlite3_exec(connection_.get(), sql.c_str(), nullptr, nullptr, nullptr) == SQLITE_OK) {
    return absl::OkStatus();
  }
  return SqliteError(connection_.get(), sql.substr(0, 40), after_io_error);
}

absl::Status Database::Run(const char* sql) {
  FTD_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  return statement.Run();
}

int64_t Database::ChangedRows() const { return sqlite3_total_changes64(connection_.get()); }

bool Database::InTransaction() const { return sqlite3_get_autocommit(connection_.get()) == 0; }

absl::StatusOr<Statement> Database::Prepare(const char* sql) {
  // Keyed by address, which is enough because every statement is a constant or a literal.
  auto& prepared = statements_[sql];
  if (prepared == nullptr) {
    sqlite3_stmt* statement = nullptr;
    if (sqlite3_prepare_v3(connection_.get(), sql, -1, SQLITE_PREPARE_PERSISTENT, &statement,
                           nullptr) != SQLITE_OK) {
      return SqliteError(connection_.get(), sql);
    }
    prepared.reset(statement);
  }
  return Statement(prepared.get());
}

absl::StatusOr<int64_t> Database::QueryInt(const char* sql) {
  FTD_ASSIGN_OR_RETURN(Statement statement, Prepare(sql));
  FTD_ASSIGN_OR_RETURN(const bool row, statement.Step());
  return row ? statement.Int(0) : 0;
}

// (1): one problem is enough to know.
absl::Status Database::QuickCheck() {
  FTD_ASSIGN_OR_RETURN(Statement check, Prepare("PRAGMA quick_check(1)"));
  FTD_ASSIGN_OR_RETURN(const bool row, check.Step());
  if (row && check.Text(0) == "ok") return absl::OkStatus();
  return Error(Reason::kDbCorrupt, absl::StrCat("the database is damaged: ", check.Text(0),
                                                "; stop ftd and restore ftd.db from a backup"));
}

absl::StatusOr<Transaction> Transaction::Begin(Database& database) {
  // IMMEDIATE takes the write lock now, so that a transaction never fails in its middle because
  // somebody else began to write.
  FTD_RETURN_IF_ERROR(database.Execute("BEGIN IMMEDIATE"));
  return Transaction(&database);
}

Transaction::Transaction(Database* database)
    : database_(database), changes_before_(database->ChangedRows()) {}

Transaction::Transaction(Transaction&& other) noexcept
    : database_(std::exchange(other.database_, nullptr)), changes_before_(other.changes_before_) {}

Transaction::~Transaction() {
  // A failed COMMIT may have rolled back by itself; then this has nothing to do and its error says
  // so.
  if (database_ != nullptr) database_->Execute("ROLLBACK").IgnoreError();
}

// If COMMIT fails the transaction is still open, and the destructor rolls it back.
absl::Status Transaction::Commit() {
  const auto begin = std::chrono::steady_clock::now();
  FTD_RETURN_IF_ERROR(database_->Execute("COMMIT", "outcome unknown: repeat with the request id"));
  const bool changed = database_->ChangedRows() != changes_before_;
  if (changed && database_->commit_listener_ != nullptr) {
    database_->commit_listener_(absl::FromChrono(std::chrono::steady_clock::now() - begin));
  }
  database_ = nullptr;
  return absl::OkStatus();
}

}  // namespace ftd

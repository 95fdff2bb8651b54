// SQLite with owners: a connection, its prepared statements, a transaction that rolls back unless
// committed.
//
// A Database and what was prepared on it are used by one thread at a time; the caller locks.
#pragma once

#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "absl/time/time.h"

struct sqlite3;
struct sqlite3_stmt;

namespace ftd {

// A use of a prepared statement. Bind in order, then Step until it gives false. Resets the
// statement when destroyed, so that it holds no read snapshot.
class Statement {
 public:
  explicit Statement(sqlite3_stmt* statement) : statement_(statement) {}
  Statement(Statement&& other) noexcept;
  ~Statement();

  Statement& Bind(int64_t value);
  Statement& Bind(std::string_view value);
  Statement& Bind(std::optional<int32_t> value);
  // As microseconds since 1970; none: 0.
  Statement& BindTime(std::optional<absl::Time> time);
  Statement& BindNull();

  // True when there is a row, false when there is none (left). BUSY gives UNAVAILABLE DB_BUSY,
  // IOERR UNAVAILABLE DB_IO, FULL gives RESOURCE_EXHAUSTED DISK_FULL, CORRUPT gives DATA_LOSS
  // DB_CORRUPT, a broken UNIQUE constraint ALREADY_EXISTS.
  absl::StatusOr<bool> Step();
  // Step for a statement that returns no rows.
  absl::Status Run();

  // Columns of the row, counted from 0.
  int64_t Int(int column) const;
  // Always UTF-8.
  std::string Text(int column) const;
  std::optional<int32_t> OptionalInt(int column) const;
  // Of what BindTime stored.
  std::optional<absl::Time> Time(int column) const;

 private:
  sqlite3_stmt* statement_;
  int bound_ = 0;
};

class Database {
 public:
  // Opens or creates; sets WAL, synchronous=FULL, foreign keys, a busy time-out of 5 s.
  static absl::StatusOr<Database> Open(const std::string& path);

  // Runs statements that return nothing. `sql` may hold several. An error of input or output ends
  // with what a caller may count on then.
  absl::Status Execute(const std::string& sql, const char* after_io_error = "try again");
  // Prepares and runs a statement that returns nothing. `sql`: as Prepare's.
  absl::Status Run(const char* sql);
  // Prepares `sql`, or takes the one prepared before. `sql` must be a literal: its address is the
  // key.
  absl::StatusOr<Statement> Prepare(const char* sql);
  // Reads the whole database and checks its structure. DATA_LOSS DB_CORRUPT with the first
  // complaint.
  absl::Status QuickCheck();
  // Called with the time that the commit of each transaction that changed something took, on its
  // thread.
  void SetCommitListener(std::function<void(absl::Duration)> listener) {
    commit_listener_ = std::move(listener);
  }
  // The first column of the first row.
  absl::StatusOr<int64_t> QueryInt(const char* sql);
  // False also when SQLite gave up a transaction by itself, as it may after an error of the disk.
  bool InTransaction() const;
  // Rows that this connection has changed so far, those of changes that were rolled back included.
  int64_t ChangedRows() const;

 private:
  struct Close {
    void operator()(sqlite3* connection) const;
  };
  struct Finalize {
    void operator()(sqlite3_stmt* statement) const;
  };
  explicit Database(sqlite3* connection) : connection_(connection) {}
  std::unique_ptr<sqlite3, Close> connection_;
  std::map<const char*, std::unique_ptr<sqlite3_stmt, Finalize>> statements_;
  std::function<void(absl::Duration)> commit_listener_;

  friend class Transaction;
};

// BEGIN IMMEDIATE … COMMIT; rolls back in the destructor unless Commit succeeded.
class Transaction {
 public:
  static absl::StatusOr<Transaction> Begin(Database& database);
  Transaction(Transaction&& other) noexcept;
  ~Transaction();
  // Durable when it returns OK. After DB_IO nobody knows whether it is: the disk may have kept what
  // it reported as failed.
  absl::Status Commit();

 private:
  explicit Transaction(Database* database);
  Database* database_;
  int64_t changes_before_;  // rows that its connection has changed
};

}  // namespace ftd

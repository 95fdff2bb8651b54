#include "lib/data/rows/arrow_rows.h"

#include <arrow/array.h>
#include <arrow/io/file.h>
#include <arrow/ipc/reader.h>
#include <arrow/memory_pool.h>
#include <arrow/record_batch.h>
#include <parquet/arrow/reader.h>
#include <parquet/exception.h>

#include <algorithm>
#include <exception>
#include <string_view>
#include <utility>

#include "lib/base/utf8.h"
#include "lib/data/rows/arrow_cell.h"

namespace ftd {
namespace {

constexpr int64_t kParquetBatchRows = 1024;
constexpr int64_t kParquetBufferBytes = 1 << 20;
constexpr std::string_view kParquetMagic = "PAR1", kArrowFileMagic = "ARROW1";

using BatchPtr = std::shared_ptr<arrow::RecordBatch>;
using FilePtr = std::shared_ptr<arrow::io::ReadableFile>;

// Returns the C library's allocator: memory that it has given back can be used by training, unlike
// that of Arrow's own allocators.
arrow::MemoryPool* Pool() { return arrow::system_memory_pool(); }

absl::Status Damaged(const std::string& name, std::string_view what) {
  return DatasetInvalid(Concat(name, ": ", RepairUtf8(what.substr(0, 300)),
                               "; the file is damaged or not what its name says"));
}

// Batches of an open file, in order; nullptr after the last one.
class BatchSource {
 public:
  virtual ~BatchSource() = default;
  virtual arrow::Result<BatchPtr> Next() = 0;
};

class ParquetBatches : public BatchSource {
 public:
  static arrow::Result<std::unique_ptr<BatchSource>> Open(const FilePtr& file) {
    parquet::ReaderProperties properties(Pool());
    properties.enable_buffered_stream();  // else a whole column of a row group is read at once
    properties.set_buffer_size(kParquetBufferBytes);
    // The rows are tokenised by other threads; decoding would take cores from them.
    parquet::ArrowReaderProperties arrow_properties(/*use_threads=*/false);
    arrow_properties.set_batch_size(kParquetBatchRows);
    arrow_properties.set_pre_buffer(false);
    arrow_properties.set_arrow_extensions_enabled(true);  // else JSON would be read as strings
    parquet::arrow::FileReaderBuilder builder;
    ARROW_RETURN_NOT_OK(builder.Open(file, properties));
    builder.memory_pool(Pool())->properties(arrow_properties);
    auto source = std::make_unique<ParquetBatches>();
    ARROW_ASSIGN_OR_RAISE(source->file_, builder.Build());
    return source;
  }
  // Row groups are read one by one: Arrow cannot join the dictionaries of several within a list.
  arrow::Result<BatchPtr> Next() override {
    while (true) {
      if (batches_ != nullptr) {
        ARROW_ASSIGN_OR_RAISE(BatchPtr batch, batches_->Next());
        if (batch != nullptr) return batch;
      }
      if (next_group_ == file_->num_row_groups()) return nullptr;
      ARROW_ASSIGN_OR_RAISE(batches_, file_->GetRecordBatchReader({next_group_++}));
    }
  }

 private:
  std::unique_ptr<parquet::arrow::FileReader> file_;   // outlives batches_
  std::unique_ptr<arrow::RecordBatchReader> batches_;  // of a row group
  int next_group_ = 0;
};

// Decompression on this thread too, as for Parquet.
arrow::ipc::IpcReadOptions IpcOptions() {
  arrow::ipc::IpcReadOptions options = arrow::ipc::IpcReadOptions::Defaults();
  options.memory_pool = Pool();
  options.use_threads = false;
  return options;
}

class IpcStreamBatches : public BatchSource {
 public:
  static arrow::Result<std::unique_ptr<BatchSource>> Open(const FilePtr& file) {
    auto source = std::make_unique<IpcStreamBatches>();
    ARROW_ASSIGN_OR_RAISE(source->reader_,
                          arrow::ipc::RecordBatchStreamReader::Open(file, IpcOptions()));
    return source;
  }
  arrow::Result<BatchPtr> Next() override { return reader_->Next(); }

 private:
  std::shared_ptr<arrow::ipc::RecordBatchStreamReader> reader_;
};

// The file format has an index at its end, by which batches are read by number.
class IpcFileBatches : public BatchSource {
 public:
  static arrow::Result<std::unique_ptr<BatchSource>> Open(const FilePtr& file) {
    auto source = std::make_unique<IpcFileBatches>();
    ARROW_ASSIGN_OR_RAISE(source->reader_,
                          arrow::ipc::RecordBatchFileReader::Open(file, IpcOptions()));
    return source;
  }
  arrow::Result<BatchPtr> Next() override {
    if (next_ == reader_->num_record_batches()) return nullptr;
    return reader_->ReadRecordBatch(next_++);
  }

 private:
  std::shared_ptr<arrow::ipc::RecordBatchFileReader> reader_;
  int next_ = 0;
};

// Turns both kinds of Arrow's errors into a status: it reports most by Status, but Parquet's
// decoders throw.
template <typename Body>
absl::Status Caught(const std::string& name, Body body) {
  try {
    const arrow::Status status = body();
    if (status.ok()) return absl::OkStatus();
    if (status.IsOutOfMemory()) return absl::ResourceExhaustedError(Concat(name, ": no memory"));
    return Damaged(name, status.message());
  } catch (const std::exception& error) {
    return Damaged(name, error.what());
  }
}

class ArrowRows : public RowReader {
 public:
  ArrowRows(FilePtr file, std::unique_ptr<BatchSource> batches, std::string name,
            std::vector<std::string> nested_columns)
      : file_(std::move(file)),
        batches_(std::move(batches)),
        name_(std::move(name)),
        nested_columns_(std::move(nested_columns)) {}

  // Returns where the last batch was read from. That is near enough for progress: Parquet reads a
  // row group's columns by turns.
  int64_t consumed_bytes() const override { return file_->Tell().ValueOr(0); }

  absl::StatusOr<bool> Next(Row* row) override {
    while (batch_ == nullptr || next_ == batch_->num_rows()) {
      FTD_RETURN_IF_ERROR(Caught(name_, [this] { return NextBatch(); }));
      if (batch_ == nullptr) return false;
    }
    row->unit = "row";
    row->number = ++rows_;
    row->problem = absl::OkStatus();
    row->cells.clear();
    for (const Column& column : columns_) {
      absl::StatusOr<Cell> cell = ArrowCell(*column.values, next_, column.keep_nested);
      if (!cell.ok()) {
        row->problem = Prefixed(cell.status(), Concat(QuotedName(column.name), " "));
        cell = Cell{.kind = Cell::Kind::kOther};
      }
      cell->name = column.name;
      row->cells.push_back(*std::move(cell));
    }
    ++next_;
    return true;
  }

 private:
  struct Column {
    std::string name;
    std::shared_ptr<arrow::Array> values;
    bool keep_nested;
  };

  arrow::Status NextBatch() {
    columns_.clear();
    ARROW_ASSIGN_OR_RAISE(batch_, batches_->Next());
    next_ = 0;
    if (batch_ == nullptr) return arrow::Status::OK();
    // Offsets of a damaged file must not lead out of its buffers.
    ARROW_RETURN_NOT_OK(batch_->ValidateFull());
    for (int i = 0; i < batch_->num_columns(); ++i) {
      const std::string& name = batch_->column_name(i);
      const bool keep_nested =
          std::find(nested_columns_.begin(), nested_columns_.end(), name) != nested_columns_.end();
      columns_.push_back({name, batch_->column(i), keep_nested});
    }
    return arrow::Status::OK();
  }

  FilePtr file_;
  std::unique_ptr<BatchSource> batches_;
  const std::string name_;
  const std::vector<std::string> nested_columns_;
  BatchPtr batch_;
  std::vector<Column> columns_;  // of batch_
  int64_t next_ = 0;             // row of batch_
  int64_t rows_ = 0;
};

}  // namespace

absl::StatusOr<std::unique_ptr<RowReader>> OpenArrowRows(
    const std::filesystem::path& path, const std::string& name,
    const std::vector<std::string>& nested_columns) {
  FilePtr file;
  std::unique_ptr<BatchSource> batches;
  FTD_RETURN_IF_ERROR(Caught(name, [&]() -> arrow::Status {
    ARROW_ASSIGN_OR_RAISE(file, arrow::io::ReadableFile::Open(path.string(), Pool()));
    // An IPC stream has no magic; it is what remains.
    char head[kArrowFileMagic.size()] = {};
    ARROW_ASSIGN_OR_RAISE(const int64_t size, file->ReadAt(0, sizeof head, head));
    ARROW_RETURN_NOT_OK(file->Seek(0));
    const std::string_view magic(head, static_cast<size_t>(size));
    auto open = magic.starts_with(kParquetMagic)     ? ParquetBatches::Open
                : magic.starts_with(kArrowFileMagic) ? IpcFileBatches::Open
                                                     : IpcStreamBatches::Open;
    ARROW_ASSIGN_OR_RAISE(batches, open(file));
    return arrow::Status::OK();
  }));
  return std::make_unique<ArrowRows>(std::move(file), std::move(batches), name, nested_columns);
}

}  // namespace ftd

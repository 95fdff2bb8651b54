#include "client/upload.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "artifacts/error.h"
#include "artifacts/sha256.h"
#include "client/text.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using ftd::v1::UploadFileRequest;

constexpr size_t kPiece = 1 << 20;
constexpr int64_t kBig = 64 << 20;

absl::Status CheckIsFile(const std::string& path) {
  std::error_code error;
  const fs::file_status status = fs::status(path, error);
  if (status.type() == fs::file_type::not_found) {
    return Error(absl::StatusCode::kNotFound, "DATASET_NOT_FOUND",
                 absl::StrCat("dataset ", path,
                              " does not exist; --dataset takes a local file (.json, .jsonl)"));
  }
  if (fs::is_directory(status)) {
    return Error(absl::StatusCode::kInvalidArgument, "DATASET_INVALID",
                 absl::StrCat("dataset ", path,
                              " is a directory; --dataset takes one file (.json, .jsonl)"));
  }
  if (error) return ErrnoError(error.value(), absl::StrCat("dataset ", path));
  return absl::OkStatus();
}

void ShowProgress(const std::string& name, int64_t done, int64_t total) {
  if (total < kBig || isatty(STDERR_FILENO) == 0) return;
  std::cerr << "\r" << Printable(name) << ": sent " << ShortBytes(done) << " of "
            << ShortBytes(total) << "  " << (done >= total ? "\n" : "") << std::flush;
}

// One stream. A failed Write means that the server ended it early: Finish tells why (perhaps it has
// the file).
grpc::Status Send(Connection& connection, const fs::path& path, const UploadFileRequest& header) {
  grpc::ClientContext context;
  ftd::v1::UploadFileResponse response;
  auto writer = connection.stub().UploadFile(&context, &response);
  const int64_t total = header.header().size_bytes();
  std::ifstream file(path, std::ios::binary);
  bool open = writer->Write(header);
  UploadFileRequest piece;
  for (int64_t sent = 0; open && file;) {
    std::string* data = piece.mutable_data();
    data->resize(kPiece);
    file.read(data->data(), kPiece);
    data->resize(file.gcount());
    if (data->empty()) break;
    open = writer->Write(piece);
    sent += file.gcount();
    ShowProgress(path.filename(), sent, total);
  }
  if (open) writer->WritesDone();
  return writer->Finish();
}

}  // namespace

absl::Status UploadDataset(Connection& connection, const std::string& path,
                           ftd::v1::Dataset* dataset) {
  FTD_RETURN_IF_ERROR(CheckIsFile(path));
  FTD_ASSIGN_OR_RETURN(const std::string sha256, Sha256File(path));
  std::error_code error;
  UploadFileRequest header;
  header.mutable_header()->set_sha256(sha256);
  header.mutable_header()->set_size_bytes(static_cast<int64_t>(fs::file_size(path, error)));
  header.mutable_header()->set_file_name(fs::path(path).filename());
  FTD_RETURN_IF_ERROR(connection.Retry([&] { return Send(connection, path, header); }));
  dataset->set_upload_sha256(sha256);
  dataset->set_file_name(fs::path(path).filename());
  return absl::OkStatus();
}

}  // namespace ftd

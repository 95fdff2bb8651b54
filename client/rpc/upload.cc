#include "client/rpc/upload.h"

#include <grpcpp/grpcpp.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <iostream>

#include "absl/strings/str_cat.h"
#include "client/text/text.h"
#include "lib/base/error.h"
#include "lib/base/sha256.h"
#include "lib/base/short_bytes.h"
#include "lib/data/dataset_files.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using ftd::v1::UploadFileRequest;

constexpr size_t kPiece = 1 << 20;
constexpr int64_t kBig = 64 << 20;

// Small files are sent before anybody could read it.
void ShowProgress(const std::string& name, int64_t done, int64_t total) {
  if (total < kBig || isatty(STDERR_FILENO) == 0) return;
  std::cerr << "\r" << Printable(name) << ": sent " << ShortBytes(done) << " of "
            << ShortBytes(total) << "  " << (done >= total ? "\n" : "") << std::flush;
}

// Sends one file as a stream. A failed Write means that the server ended it early, perhaps because
// it has the file: Finish has the reason.
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
    // The last piece is shorter; an empty file has none.
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

absl::StatusOr<std::string> Upload(Connection& connection, const fs::path& path,
                                   const std::string& name) {
  // The hash goes into the header, so the file is read twice; a file that the server has is not
  // sent.
  FTD_ASSIGN_OR_RETURN(std::string sha256, Sha256File(path));
  std::error_code error;
  UploadFileRequest header;
  header.mutable_header()->set_sha256(sha256);
  header.mutable_header()->set_size_bytes(static_cast<int64_t>(fs::file_size(path, error)));
  header.mutable_header()->set_file_name(name);
  FTD_RETURN_IF_ERROR(connection.Retry([&] { return Send(connection, path, header); }));
  return sha256;
}

}  // namespace

absl::Status UploadDataset(Connection& connection, const std::string& name,
                           ftd::v1::Dataset* dataset) {
  FTD_ASSIGN_OR_RETURN(const std::vector<LocalDatasetFile> files, FindDatasetFiles(name));
  std::error_code error;
  // A directory or glob of one file is still a list.
  const bool one_file = files.size() == 1 && fs::is_regular_file(name, error);
  for (const LocalDatasetFile& file : files) {
    FTD_ASSIGN_OR_RETURN(const std::string sha256, Upload(connection, file.path, file.name));
    if (one_file) {
      dataset->set_upload_sha256(sha256);
    } else {
      ftd::v1::Dataset::File& sent = *dataset->add_files();
      sent.set_sha256(sha256);
      sent.set_name(file.name);
    }
  }
  fs::path shown(name);
  if (!shown.has_filename()) shown = shown.parent_path();  // "rows/"
  dataset->set_file_name(shown.filename());
  return absl::OkStatus();
}

}  // namespace ftd

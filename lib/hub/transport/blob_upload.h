// One large file to the hub's storage, by the Git LFS protocol: whole or in parts, to signed
// addresses, which never get the token.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "lib/hub/transport/http_client.h"
#include "lib/hub/transport/repo_writes.h"
#include "nlohmann/json.hpp"

namespace ftd::hub {

// What the hub says is to be done with a file. Without parts it goes to `upload` as a whole.
struct UploadPlan {
  std::string upload;  // "": the hub has the file. With parts: where to say that all are there
  int64_t part_size = 0;
  std::vector<std::string> parts;  // an address each
  std::string verify;              // "": nothing to be said afterwards
};

// Reads the hub's answer to a batch of one file of `size` bytes. FAILED_PRECONDITION HUB_REFUSED
// with the hub's words about the file; DATA_LOSS HUB_PROTOCOL when it makes no sense, or when an
// address is less safe than the hub's.
absl::StatusOr<UploadPlan> ParseUploadPlan(const WriteTarget& target, const nlohmann::json& answer,
                                           int64_t size);

// Makes the hub have the file, which a commit may then name by its sha256. Nothing is sent if the
// hub has it. `sent(bytes)` is called on this thread with the bytes that are there or on their way.
// Errors: those of repo_writes.h.
absl::Status UploadBlob(HttpClient& http, const WriteTarget& target, const OutgoingFile& file,
                        const std::function<void(int64_t bytes)>& sent);

}  // namespace ftd::hub

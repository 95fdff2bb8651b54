#include "lib/data/token_cache.h"

#include <fcntl.h>
#include <sys/file.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/manifest.h"
#include "lib/base/sha256.h"
#include "lib/data/dataset_files.h"
#include "lib/data/token_store.h"
#include "lib/data/tokenize.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using nlohmann::json;

// Raise it with every change after which the same rows may give other tokens or the files another
// layout.
constexpr int kVersion = 4;
constexpr char kFactsFile[] = "facts.json", kManifestFile[] = "MANIFEST.json";

// One process at a time looks and builds; another on the same rows waits here and then finds the
// store. The lock goes with its process, so a kill cannot leave it behind.
absl::StatusOr<Fd> LockCache(const fs::path& dir) {
  std::error_code error;
  fs::create_directories(dir, error);
  if (error) return ErrnoError(error.value(), Concat("create ", dir.string()));
  FTD_ASSIGN_OR_RETURN(Fd lock, OpenFile(dir / "lock", O_RDWR | O_CREAT));
  while (::flock(lock.get(), LOCK_EX) != 0) {
    if (errno != EINTR) return ErrnoError(errno, Concat("lock ", dir.string()));
  }
  return lock;
}

// facts.json has the report, so that a cached dataset is reported as well.
absl::StatusOr<TokenizedDataset> OpenStore(const fs::path& store) {
  FTD_ASSIGN_OR_RETURN(const std::string text, ReadFile(store / kFactsFile));
  const json facts = json::parse(text, nullptr, /*allow_exceptions=*/false);
  TokenizedDataset dataset;
  try {
    dataset.report = RowReportFromJson(facts);
  } catch (const json::exception& error) {
    return absl::DataLossError(error.what());
  }
  FTD_ASSIGN_OR_RETURN(dataset.rows, TokenStore::Open(store));
  std::error_code ignored;  // the time of the last use
  // Reading touches the manifest, whose time is therefore that of the last use.
  fs::last_write_time(store / kManifestFile, fs::file_time_type::clock::now(), ignored);
  return dataset;
}

// Returns a store that verifies. One that cannot be read counts as absent.
absl::StatusOr<TokenizedDataset> FindStore(const fs::path& store, const std::string& key) {
  FTD_ASSIGN_OR_RETURN(const Manifest manifest, VerifyDirectory(store));
  if (manifest.spec_hash != key) return absl::DataLossError("another key");
  return OpenStore(store);
}

}  // namespace

// Tokens of conversations depend on the chat template as well, and that may depend on the day.
//
// Names are left out except for the format that they promise: the same bytes under another name
// give the same tokens. The order of files is kept, because it is the order of rows.
std::string TokenKey(const TokenCache::Request& request, bool has_conversations) {
  const DatasetOptions& dataset = request.dataset;
  json files = json::array();
  for (const DatasetInput& file : dataset.files) {
    const auto format = FormatOfName(file.name);
    files.push_back({file.sha256, format.ok() ? static_cast<int>(*format) : -1});
  }
  json key = {{"version", kVersion},
              {"files", files},
              {"limit", dataset.limit},
              {"skip_bad_rows", dataset.skip_bad_rows},
              {"shape", static_cast<int>(dataset.rules.shape)},
              {"columns", dataset.rules.columns},
              {"template", dataset.rules.prompt_template},
              {"train_on", static_cast<int>(dataset.rules.train_on)},
              {"tokenizer", request.encoder->tokenizer->Fingerprint()},
              {"eos", request.encoder->eos_token},
              {"seq_length", request.encoder->seq_length}};
  if (has_conversations) {
    const bool has_template = dataset.chat != nullptr && dataset.chat->Get().ok();
    key["chat"] = has_template ? dataset.chat->Get()->fingerprint() : "";
    key["stops"] = request.encoder->stop_ids;
  }
  return Sha256Hex(key.dump(-1, ' ', false, json::error_handler_t::replace));
}

absl::StatusOr<TokenizedDataset> TokenCache::Get(const Request& request) const {
  FTD_ASSIGN_OR_RETURN(const Fd lock, LockCache(dir_));
  // Safe under the lock: nobody else builds.
  RemoveUnfinished();
  for (const bool has_conversations : {false, true}) {
    const std::string key = TokenKey(request, has_conversations);
    const fs::path store = dir_ / key;
    if (auto found = FindStore(store, key); found.ok()) {
      found->was_cached = true;
      return found;
    }
    // A store of this name did not verify.
    std::error_code error;
    fs::remove_all(store, error);
    if (error) return ErrnoError(error.value(), Concat("remove ", store.string()));
  }
  FTD_ASSIGN_OR_RETURN(const fs::path store, Build(request));
  auto made = OpenStore(store);
  RemoveLeastUsed(store);
  return made;
}

// Builds under a name that marks it as unfinished. SealDirectory renames it once all is on disk.
absl::StatusOr<fs::path> TokenCache::Build(const Request& request) const {
  FTD_ASSIGN_OR_RETURN(const ScratchDir scratch,
                       ScratchDir::Create(dir_ / Concat(kUnfinishedMark, TokenKey(request, true))));
  FTD_ASSIGN_OR_RETURN(TokenStoreWriter writer, TokenStoreWriter::Create(scratch.path()));
  DatasetReader reader(request.dataset);
  const auto go_on = [&] {
    return request.progress(reader.consumed_bytes(), reader.total_bytes());
  };
  FTD_ASSIGN_OR_RETURN(RowTally tally,
                       TokenizeRows(reader, *request.encoder, request.threads, writer, go_on));
  if (writer.rows() == 0) {
    const auto& files = request.dataset.files;
    return DatasetInvalid(Concat(
        files[0].name, files.size() == 1 ? "" : " and the other files",
        ": no row has anything to learn: the rows are empty, ",
        tally.counts().conversations > 0 ? "their conversations have no turn that is learned, "
                                         : "",
        "or seq_length ", request.encoder->seq_length,
        " cuts off all that is learned; raise it, or look at them with ft-worker preview"));
  }
  FTD_RETURN_IF_ERROR(writer.Finish());
  RowReport report = tally.Report(*request.encoder);
  report.skipped_rows = reader.skipped_rows();
  report.skipped_reasons = reader.skipped_reasons();
  FTD_RETURN_IF_ERROR(WriteFileAtomically(
      scratch.path() / kFactsFile,
      RowReportToJson(report).dump(1, ' ', false, json::error_handler_t::replace) + "\n"));
  // A row that was skipped may have been a conversation.
  const bool may_have_conversations = report.counts.conversations > 0 || report.skipped_rows > 0;
  const std::string key = TokenKey(request, may_have_conversations);
  FTD_RETURN_IF_ERROR(
      SealDirectory(scratch.path(), dir_ / key, {.step = writer.rows(), .spec_hash = key}));
  return dir_ / key;
}

// Removes what a killed process had not finished.
void TokenCache::RemoveUnfinished() const {
  std::error_code error;
  for (fs::directory_iterator it(dir_, error), end; !error && it != end; it.increment(error)) {
    std::error_code ignored;
    if (it->path().filename().string().starts_with(kUnfinishedMark))
      fs::remove_all(it->path(), ignored);
  }
}

void TokenCache::RemoveLeastUsed(const fs::path& keep) const {
  struct Store {
    fs::file_time_type used;
    int64_t bytes;
    fs::path path;
  };
  std::vector<Store> stores;
  int64_t total = 0;
  std::error_code error;
  for (fs::directory_iterator it(dir_, error), end; !error && it != end; it.increment(error)) {
    std::error_code failed;
    const auto used = fs::last_write_time(it->path() / kManifestFile, failed);
    const auto manifest = ReadManifest(it->path());
    if (failed || !manifest.ok()) continue;
    total += manifest->total_bytes;
    if (it->path() != keep) stores.push_back({used, manifest->total_bytes, it->path()});
  }
  std::sort(stores.begin(), stores.end(),
            [](const Store& a, const Store& b) { return a.used < b.used; });
  for (const Store& store : stores) {
    if (total <= max_bytes_) return;
    std::error_code ignored;
    // Running jobs may use a store that is removed here: they have its files open, and the blocks
    // are freed when they close them.
    fs::remove_all(store.path, ignored);
    total -= store.bytes;
  }
}

}  // namespace ftd

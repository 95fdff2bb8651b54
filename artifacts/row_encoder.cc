#include <algorithm>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <mutex>
#include <thread>

#include "artifacts/concat.h"
#include "artifacts/dataset.h"
#include "artifacts/error.h"
#include "artifacts/file.h"
#include "artifacts/model_config.h"
#include "nlohmann/json.hpp"

namespace ftd {
namespace {

using nlohmann::json;

constexpr int64_t kChunk = 64;  // rows that a thread takes at a time
constexpr auto kProgressInterval = std::chrono::milliseconds(100);

absl::Status Corrupt(const std::filesystem::path& path, std::string_view problem) {
  return Error(absl::StatusCode::kFailedPrecondition, "MODEL_CORRUPT",
               Concat(path.string(), ": ", problem, "; fetch the model again"));
}

// The "eos_token" of a JSON file: a string or {"content": string}. Empty when file or field is
// absent or null.
absl::StatusOr<std::string> EosIn(const std::filesystem::path& path) {
  absl::StatusOr<std::string> text = ReadFile(path);
  if (absl::IsNotFound(text.status())) return std::string();
  FTD_RETURN_IF_ERROR(text.status());
  const json document = json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (!document.is_object()) return Corrupt(path, "not a JSON object");
  const auto field = document.find("eos_token");
  if (field == document.end() || field->is_null()) return std::string();
  if (field->is_string()) return field->get<std::string>();
  if (field->is_object() && field->contains("content") && (*field)["content"].is_string()) {
    return (*field)["content"].get<std::string>();
  }
  return Corrupt(path, R"("eos_token" must be a string or an object with a "content")");
}

absl::StatusOr<std::string> FindEos(const std::filesystem::path& model_dir,
                                    const Tokenizer& tokenizer) {
  for (const char* name : {"tokenizer_config.json", "special_tokens_map.json"}) {
    FTD_ASSIGN_OR_RETURN(std::string eos, EosIn(model_dir / name));
    if (eos.empty()) continue;
    if (tokenizer.TokenToId(eos) >= 0) return eos;
    return Corrupt(model_dir / name, Concat("eos_token \"", eos, "\" is not in tokenizer.json"));
  }
  FTD_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(model_dir));
  std::string eos;
  if (config.eos_token_id >= 0 && config.eos_token_id < tokenizer.VocabSize()) {
    eos = tokenizer.Decode({static_cast<int32_t>(config.eos_token_id)});
  }
  if (!eos.empty()) return eos;
  return Error(absl::StatusCode::kFailedPrecondition, "MODEL_UNSUPPORTED",
               Concat(model_dir.string(),
                      " names no end-of-sequence token: set eos_token in tokenizer_config.json"));
}

// Hands out chunks of rows to threads, and tells the caller how far they are.
class Progress {
 public:
  explicit Progress(int64_t total) : total_(total) {}

  // The first row of the next chunk; `total` or more when nothing is left.
  int64_t Claim() { return stopped_ ? total_ : next_.fetch_add(kChunk); }
  void Add(int64_t rows) {
    const std::lock_guard<std::mutex> lock(mutex_);
    done_ += rows;
    if (done_ == total_) changed_.notify_one();
  }
  void Stop() { stopped_ = true; }
  // Rows done after a while, or at once when all are.
  int64_t Wait() {
    std::unique_lock<std::mutex> lock(mutex_);
    changed_.wait_for(lock, kProgressInterval, [this] { return done_ == total_; });
    return done_;
  }

 private:
  const int64_t total_;
  std::atomic<int64_t> next_ = 0;
  std::atomic<bool> stopped_ = false;
  std::mutex mutex_;
  std::condition_variable changed_;
  int64_t done_ = 0;
};

void EncodeChunks(const RowEncoder& encoder, const std::vector<std::string>& texts,
                  Progress& progress, std::vector<TokenizedRow>* rows) {
  const auto total = static_cast<int64_t>(texts.size());
  for (int64_t begin = progress.Claim(); begin < total; begin = progress.Claim()) {
    const int64_t end = std::min(begin + kChunk, total);
    for (int64_t i = begin; i < end; ++i) (*rows)[i] = encoder.Encode(texts[i]);
    progress.Add(end - begin);
  }
}

}  // namespace

std::string RowEncoder::WithEos(std::string_view text) const {
  return Concat(text, text.ends_with(eos_token) ? std::string_view() : std::string_view(eos_token));
}

TokenizedRow RowEncoder::Encode(std::string_view text) const {
  TokenizedRow row;
  row.input_ids = tokenizer->Encode(WithEos(text), /*add_special_tokens=*/true);
  if (seq_length > 0 && row.input_ids.size() > static_cast<size_t>(seq_length))
    row.input_ids.resize(seq_length);
  row.labels = row.input_ids;
  return row;
}

absl::StatusOr<RowEncoder> MakeRowEncoder(const std::filesystem::path& model_dir,
                                          const Tokenizer& tokenizer, int32_t seq_length) {
  RowEncoder encoder;
  encoder.tokenizer = &tokenizer;
  encoder.seq_length = seq_length;
  FTD_ASSIGN_OR_RETURN(encoder.eos_token, FindEos(model_dir, tokenizer));
  return encoder;
}

absl::StatusOr<std::vector<TokenizedRow>> EncodeAll(
    const RowEncoder& encoder, const std::vector<std::string>& texts, int threads,
    const std::function<bool(int64_t done)>& progress) {
  const auto total = static_cast<int64_t>(texts.size());
  std::vector<TokenizedRow> rows(texts.size());
  Progress shared(total);
  const int64_t useful = std::min<int64_t>(std::max(threads, 1), (total + kChunk - 1) / kChunk);
  std::vector<std::jthread> workers;
  for (int64_t i = 0; i < useful; ++i) {
    workers.emplace_back([&] { EncodeChunks(encoder, texts, shared, &rows); });
  }
  for (int64_t done = -1; done < total;) {
    done = shared.Wait();
    if (!progress(done)) {
      shared.Stop();
      return absl::CancelledError("tokenising was cancelled");
    }
  }
  return rows;
}

}  // namespace ftd

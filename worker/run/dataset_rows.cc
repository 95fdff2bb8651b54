#include "worker/run/dataset_rows.h"

#include <algorithm>
#include <memory>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/strings/str_join.h"
#include "lib/base/concat.h"
#include "lib/base/error.h"
#include "lib/base/sha256.h"
#include "lib/data/numpy_random.h"
#include "lib/data/token_cache.h"
#include "lib/data/train_test_split.h"
#include "lib/model/model_config.h"
#include "lib/tokenizer/tokenizer.h"
#include "worker/run/columnar.h"
#include "worker/run/data_report.h"
#include "worker/run/job_plan.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

// Checks that files that are read in place are still those that the job was bound to.
absl::Status CheckPins(const v1::AttemptRequest& request, RunObserver& observer,
                       const StopFlags& flags) {
  int checked = 0;
  for (const auto& file : request.dataset_files()) {
    if (flags.stop) return absl::CancelledError("stopped");
    observer.Progress(v1::Progress::VALIDATE, {checked++, request.dataset_files_size(), "files"});
    if (!file.verify()) continue;
    const absl::StatusOr<std::string> sha256 = Sha256File(file.path());
    if (!sha256.ok() && !absl::IsNotFound(sha256.status())) return sha256.status();
    if (sha256.ok() && *sha256 == file.sha256()) continue;
    return DatasetInvalid(Concat(file.path(), sha256.ok() ? " has changed" : " is gone",
                                 " since the run was started; start a new one to train on what is ",
                                 "there now"));
  }
  return absl::OkStatus();
}

// "3 of 40 rows (7.5%)"
std::string Share(int64_t rows, int64_t all) {
  return absl::StrFormat("%d of %d rows (%.3g%%)", rows, all,
                         100 * static_cast<double>(rows) / static_cast<double>(all));
}

// A model that learns to end its turns with a token where generation does not stop writes the
// other's part as well.
std::string StopWarning(const RowCounts& counts, const RowEncoder& encoder) {
  const auto named = [&](int32_t id) {
    return absl::StrCat("\"", encoder.tokenizer->Decode({id}), "\" (", id, ")");
  };
  return absl::StrCat(
      " have a turn that ends with ", named(static_cast<int32_t>(counts.unstopped_token)),
      ", where generation does not stop: generation_config.json and the tokenizer stop at ",
      absl::StrJoin(encoder.stop_ids, ", ",
                    [&](std::string* out, int32_t id) { out->append(named(id)); }),
      ". Add the token's id to eos_token_id in generation_config.json, or choose a chat template "
      "that fits the model");
}

// Rows that training sees otherwise than their author wrote them, or not at all.
void WarnOf(const TokenizedDataset& dataset, const TrainSpec& spec, const RowEncoder& encoder,
            int64_t positions, RunObserver& observer) {
  const RowReport& report = dataset.report;
  const RowCounts& counts = report.counts;
  const int64_t all = counts.kept + counts.dropped;
  if (counts.cut > 0) {
    observer.Warning(absl::StrCat(Share(counts.cut, all), " were cut to --seq-length ",
                                  spec.seq_length, "; the longest has ", counts.longest,
                                  " tokens"));
  }
  if (counts.lost_completion > 0) {
    observer.Warning(absl::StrCat(Share(counts.lost_completion, all),
                                  " lost the whole completion to that cut: the prompt alone fills "
                                  "--seq-length ",
                                  spec.seq_length));
  }
  if (counts.empty > 0) {
    observer.Warning(absl::StrCat(Share(counts.empty, all),
                                  " have an empty text or completion: nothing but its end can be "
                                  "learned from them"));
  }
  if (counts.dropped > 0) {
    observer.Warning(
        absl::StrCat(Share(counts.dropped, all), " have nothing to learn and were left out"));
  }
  if (counts.unstopped > 0)
    observer.Warning(absl::StrCat(Share(counts.unstopped, all), StopWarning(counts, encoder)));
  const int64_t longest = std::min<int64_t>(counts.longest, spec.seq_length);
  if (longest > positions) {
    observer.Warning(absl::StrCat("the longest row has ", longest,
                                  " tokens, but the model was made "
                                  "for ",
                                  positions,
                                  " (max_position_embeddings in config.json); a "
                                  "lower --seq-length cuts such rows"));
  }
  if (report.skipped_rows == 0) return;
  const bool some = report.skipped_rows > static_cast<int64_t>(report.skipped_reasons.size());
  observer.Warning(absl::StrCat(report.skipped_rows, " bad rows were skipped",
                                some ? ", the first of them: " : ": ",
                                absl::StrJoin(report.skipped_reasons, "; ")));
}

// Puts the rows in the order that the spec asks for, those to evaluate on apart.
absl::StatusOr<PreparedRows> Arrange(TokenizedDataset dataset, const TrainSpec& spec) {
  PreparedRows prepared{.report = std::move(dataset.report)};
  // The order of a script with Hugging Face's `datasets`: shuffle(seed), then train_test_split.
  if (spec.dataset.shuffle_seed.has_value()) {
    auto order =
        NumpyPermutation(static_cast<uint64_t>(*spec.dataset.shuffle_seed), dataset.rows->size());
    dataset.rows = std::make_unique<ReorderedRows>(std::move(dataset.rows), std::move(order));
  }
  if (spec.eval_split == 0) {
    prepared.train = std::move(dataset.rows);
    return prepared;
  }
  const std::shared_ptr<const RowSource> rows = std::move(dataset.rows);
  TrainTestSplit split = SplitRows(rows->size(), spec.eval_split, static_cast<uint64_t>(spec.seed));
  // Only with so few rows that the rounding leaves none.
  if (split.train.empty()) {
    return DatasetInvalid(Concat("eval_split keeps all ", rows->size(),
                                 " rows back and leaves none to train on; lower it"));
  }
  prepared.train = std::make_unique<ReorderedRows>(rows, std::move(split.train));
  prepared.eval = std::make_unique<ReorderedRows>(rows, std::move(split.test));
  return prepared;
}

}  // namespace

DatasetOptions DatasetOptionsOf(const v1::AttemptRequest& request, const TrainSpec& spec,
                                const Tokenizer* tokenizer) {
  DatasetOptions options;
  for (const auto& file : request.dataset_files())
    options.files.push_back({file.path(), file.name(), file.sha256()});
  options.rules = spec.dataset.rules;
  options.limit = spec.dataset.size;
  options.skip_bad_rows = spec.dataset.skip_bad_rows;
  options.open_columnar = kOpenColumnar;
  options.chat =
      std::make_shared<ChatSource>(request.model_dir(), spec.dataset.rules.chat, tokenizer);
  return options;
}

absl::StatusOr<PreparedRows> PrepareRows(const v1::AttemptRequest& request, const TrainSpec& spec,
                                         const fs::path& run_dir, int threads,
                                         RunObserver& observer, const StopFlags& flags) {
  // The tokenizer may take a second to load, so a phase is reported before it.
  observer.Progress(v1::Progress::VALIDATE, {0, 0, "files"});
  FTD_ASSIGN_OR_RETURN(const auto tokenizer, Tokenizer::Load(request.model_dir()));
  FTD_ASSIGN_OR_RETURN(const RowEncoder encoder,
                       MakeRowEncoder(request.model_dir(), *tokenizer, spec.seq_length));
  FTD_RETURN_IF_ERROR(CheckPins(request, observer, flags));
  TokenCache::Request wanted{.dataset = DatasetOptionsOf(request, spec, tokenizer.get()),
                             .encoder = &encoder,
                             .threads = threads,
                             .progress = [&](int64_t done, int64_t total) {
                               observer.Progress(v1::Progress::TOKENIZE, {done, total, "bytes"});
                               return !flags.stop;
                             }};
  const int64_t bytes =
      request.token_cache_bytes() > 0 ? request.token_cache_bytes() : kDefaultTokenCacheBytes;
  const bool shared = !request.token_cache_dir().empty();
  // With a job the daemon's cache, shared by all jobs; ft-train without one has its own.
  const TokenCache cache(shared ? fs::path(request.token_cache_dir()) : run_dir / "tokens", bytes);
  auto tokenized = cache.Get(wanted);
  // An upload that somebody removed, or that a restored database lacks.
  if (absl::IsNotFound(tokenized.status()))
    return DatasetInvalid(Concat("the rows are gone: ", std::string(tokenized.status().message()),
                                 "; submit them again"));
  FTD_ASSIGN_OR_RETURN(TokenizedDataset dataset, std::move(tokenized));
  FTD_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(request.model_dir()));
  WarnOf(dataset, spec, encoder, config.max_position_embeddings, observer);
  FTD_ASSIGN_OR_RETURN(PreparedRows prepared, Arrange(std::move(dataset), spec));
  FTD_ASSIGN_OR_RETURN(v1::DataReport report, MakeDataReport(prepared.report, prepared.eval.get()));
  FTD_ASSIGN_OR_RETURN(*report.mutable_plan(),
                       MakeJobPlan(config, spec, *prepared.train, prepared.eval.get(),
                                   request.device_memory_bytes()));
  observer.Data(report);
  if (const std::string& why = report.plan().does_not_fit(); !why.empty())
    return Error(Reason::kDoesNotFit, why);
  return prepared;
}

}  // namespace ftd

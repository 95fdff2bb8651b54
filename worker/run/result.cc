#include "worker/run/result.h"

#include "absl/strings/str_cat.h"
#include "lib/base/contained_file.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/manifest.h"
#include "lib/chat/template_source.h"
#include "lib/runlog/timestamp.h"
#include "worker/records/logging_window.h"
#include "worker/records/model_card.h"
#include "worker/records/sample_log.h"
#include "worker/records/tensorboard.h"
#include "worker/run/export.h"
#include "worker/run/model_copy.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;

constexpr const char* kChatTemplate = "chat_template.jinja";

// The chat template that the model was trained with, for it will be asked with the same.
absl::Status WriteChatTemplates(const RowRules& rules, const RunFacts& facts, const fs::path& dir) {
  const std::string& given = rules.chat.chat_template;
  if (!given.empty()) {
    const std::string_view own = chat::BuiltIn(given);
    return WriteFileAtomically(dir / kChatTemplate, own.empty() ? given : std::string(own));
  }
  return CopyChatTemplates(facts.model_dir, facts.model_reader, dir);
}

// Writes what transformers (full) or PEFT (adapter) loads from a directory; no pickles.
absl::Status WriteModelFiles(const engine::Trainer& trainer, const TrainSpec& spec,
                             const RunFacts& facts, const RunHistory& history,
                             const fs::path& dir) {
  trainer.ExportWeights(dir);
  FTD_RETURN_IF_ERROR(CopyTokenizer(facts.model_dir, facts.model_reader, dir));
  FTD_RETURN_IF_ERROR(WriteChatTemplates(spec.dataset.rules, facts, dir));
  if (spec.mode == Mode::kFull) {
    for (const char* name : {"config.json", "generation_config.json"})
      FTD_RETURN_IF_ERROR(CopyModelFile(facts.model_dir, name, facts.model_reader, dir));
  } else {
    FTD_RETURN_IF_ERROR(WriteFileAtomically(
        dir / "adapter_config.json", AdapterConfigJson(spec, facts.base_model, trainer.is_part())));
  }
  const hub::License license = ReadLicense(facts.model_dir, facts.model_reader);
  return WriteFileAtomically(dir / "README.md", ModelCard(spec, facts, license, history));
}

// A downloaded result has its curves: one TensorBoard log of the whole run. Those of its attempts
// each end where the attempt did, and repeat what a later one has done again.
absl::Status WriteLog(const RunHistory& history, int64_t logging_steps, const fs::path& dir) {
  FTD_ASSIGN_OR_RETURN(TensorboardWriter log, TensorboardWriter::Create(dir));
  absl::Status written;
  ForEachLogEntry(
      history, logging_steps,
      [&](const v1::StepMetrics& point) { written.Update(log.Append(point)); },
      [&](const v1::Evaluation& evaluation, const v1::StepMetrics& step) {
        written.Update(log.Append(evaluation, ToTime(step.time())));
      });
  for (const v1::GeneratedSample& sample : history.samples) written.Update(log.Append(sample));
  FTD_RETURN_IF_ERROR(written);
  FTD_RETURN_IF_ERROR(log.Sync());
  return SyncPath(dir);
}

// The record of the run is there by now: it tells what the adapter was trained on.
absl::Status WriteMergedModel(const RunFacts& facts, const fs::path& dir) {
  const ExportOrder order{.model_dir = WithoutLinks(facts.model_dir),
                          .adapter_dir = WithoutLinks(dir),
                          .model_reader = facts.model_reader,
                          .directory = WithoutLinks(dir) / "merged"};
  return Export(order, [](int64_t, int64_t) {}).status();
}

}  // namespace

// Everything is written into a scratch directory that is renamed as the last act: a result that
// exists is complete. If anything fails, ScratchDir removes what was written.
absl::Status WriteResult(const engine::Trainer& trainer, const TrainSpec& spec,
                         const RunFacts& facts, const RunHistory& history,
                         const RunPlaces& places) {
  FTD_ASSIGN_OR_RETURN(const ScratchDir scratch,
                       ScratchDir::Create(places.dir / absl::StrCat(kUnfinishedMark, "result")));
  const fs::path& temporary = scratch.path();
  FTD_RETURN_IF_ERROR(WriteModelFiles(trainer, spec, facts, history, temporary));
  FTD_RETURN_IF_ERROR(WriteFileAtomically(
      temporary / "trainer_state.json", TrainerStateJson(spec, history, trainer.steps_planned())));
  FTD_RETURN_IF_ERROR(WriteFileAtomically(temporary / "metrics.jsonl", MetricsJsonl(history)));
  if (!history.samples.empty()) {
    FTD_RETURN_IF_ERROR(
        WriteFileAtomically(temporary / kSamplesFile, SamplesJsonl(history.samples)));
  }
  FTD_RETURN_IF_ERROR(WriteFileAtomically(temporary / "ftd_run.json", RunRecordJson(spec, facts)));
  if (spec.merge) FTD_RETURN_IF_ERROR(WriteMergedModel(facts, temporary));
  if (places.logs_in_result) {
    FTD_RETURN_IF_ERROR(WriteLog(history, spec.logging_steps, temporary / "runs"));
  }
  FTD_RETURN_IF_ERROR(SyncPath(temporary));
  return RenameDurably(temporary, places.result);
}

}  // namespace ftd

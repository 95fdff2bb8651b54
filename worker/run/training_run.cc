#include "worker/run/training_run.h"

#include <unistd.h>

#include <chrono>
#include <cmath>
#include <memory>
#include <new>
#include <optional>
#include <vector>

#include "absl/strings/str_cat.h"
#include "absl/strings/str_format.h"
#include "absl/time/clock.h"
#include "google/protobuf/util/time_util.h"
#include "lib/base/device_lock.h"
#include "lib/base/error.h"
#include "lib/base/host_memory.h"
#include "lib/base/manifest.h"
#include "lib/base/sha256.h"
#include "lib/data/row_source.h"
#include "lib/model/model_config.h"
#include "lib/model/weights_digest.h"
#include "lib/runlog/step_log.h"
#include "lib/runlog/timestamp.h"
#include "lib/spec/repo_name.h"
#include "worker/engine/train.h"
#include "worker/records/checkpoints.h"
#include "worker/records/logging_window.h"
#include "worker/records/run_history.h"
#include "worker/records/run_record.h"
#include "worker/records/sample_log.h"
#include "worker/records/tensorboard.h"
#include "worker/run/attempt_request.h"
#include "worker/run/dataset_rows.h"
#include "worker/run/failure.h"
#include "worker/run/memory_guard.h"
#include "worker/run/result.h"
#include "worker/run/samples.h"
#include "worker/run/sources.h"
#include "worker/run/training_health.h"

namespace ftd {
namespace {

namespace fs = std::filesystem;
using Clock = std::chrono::steady_clock;

// Halving the learning rate more often would hardly be what anybody wants.
constexpr int32_t kMostRollbacks = 3;

// Returns the factor by which torch's clip_grad_norm_ multiplies a gradient of this norm.
double ClipRatio(double norm, double max_norm) { return std::min(1.0, max_norm / (norm + 1e-6)); }

double SecondsSince(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Returns what a user who left the micro-batch's size to ftd should know of what came of it; empty:
// nothing had to change.
std::string FitText(const TrainSpec& spec, int64_t parts, int64_t recomputed, int64_t layers) {
  if (spec.gradient_checkpointing != Checkpointing::kAuto) recomputed = 0;  // the user's choice
  std::string text = "to fit into the free memory, ";
  if (parts > 1) {
    absl::StrAppend(&text, "a micro-batch of ", spec.batch_size, " rows is computed in ", parts,
                    " parts");
    if (recomputed > 0) absl::StrAppend(&text, ", and ");
  }
  if (recomputed > 0)
    absl::StrAppend(&text, "up to ", recomputed, " of ", layers, " layers are recomputed");
  return parts > 1 || recomputed > 0 ? text + "; the batch stays the same" : "";
}

// A run, phase by phase. Failures travel as Status; the engine's exceptions are caught in Run.
//
// sources → device → rows → model → checkpoint → steps and evaluations → result
//
// All of it happens on the thread that calls Run. Other threads set flags (control server, memory
// guard), or run in the engine.
class TrainingRun {
 public:
  TrainingRun(const RunOrder& order, RunObserver& observer, StopFlags& flags)
      : request_(order.request),
        spec_(order.spec),
        places_(order.places),
        hub_token_(order.hub_token),
        end_now_(order.end_now),
        observer_(observer),
        flags_(flags),
        window_(spec_.logging_steps) {}

  // Returns the content of the end record.
  v1::WorkerEvent::End Run() {
    try {
      const absl::Status status = RunGuarded();
      if (!status.ok()) return FailureOf(status, Traits());
    } catch (const engine::EngineError& error) {
      return FailureOf(error, Traits());
    } catch (const std::bad_alloc& error) {
      return FailureOf(error, Traits());
    } catch (const std::exception& error) {
      return FailureOf(engine::EngineError(engine::EngineError::Kind::kInternal, error.what()),
                       Traits());
    }
    v1::WorkerEvent::End end;
    end.set_outcome(stopped_ ? v1::WorkerEvent::End::STOPPED : v1::WorkerEvent::End::SUCCEEDED);
    if (!rolled_back_.empty()) {
      end.set_outcome(v1::WorkerEvent::End::ROLLED_BACK);
      end.set_message(rolled_back_);
    }
    end.set_last_step(last_step_);
    if (!stopped_ && !flags_.halt && EndsEarly() && last_step_ < trainer_->steps_planned()) {
      end.set_message(absl::StrCat("ended early, after step ", last_step_, ": ",
                                   spec_.early_stopping_patience,
                                   " evaluations in a row did not lower the loss"));
    }
    return end;
  }

 private:
  absl::Status RunGuarded() {
    // Called on the guard's thread. The end record is the last thing that this process does.
    const auto emergency = [this](const absl::Status& why) {
      ::alarm(1);  // where memory is short a file may take for ever
      end_now_(FailureOf(why, Traits()));
    };
    FTD_ASSIGN_OR_RETURN(const auto guard,
                         MemoryGuard::Start(HostMemoryReserve(request_.host_memory_reserve_bytes()),
                                            &flags_, emergency, AvailableHostMemory));
    FTD_RETURN_IF_ERROR(RunPhases());
    // A run that the guard stopped has its checkpoint by now, and fails with the guard's verdict.
    return stopped_ ? guard->verdict() : absl::OkStatus();
  }

  absl::Status RunPhases() {
    // A cancel with `keep`: no more steps, only the result of the checkpoint. `halt` makes the
    // first step or evaluation return nothing, and the run then continues to the export.
    if (request_.finish()) {
      if (request_.resume_from().empty()) {
        return Error(Reason::kCheckpointCorrupt,
                     "no checkpoint verifies: there is nothing to make a result of");
      }
      flags_.halt = true;
    }
    FTD_ASSIGN_OR_RETURN(spec_hash_, SpecHash(request_));
    // Fetched before the device is locked: another process may compute meanwhile.
    FTD_RETURN_IF_ERROR(BringSources(request_.sources_json(), hub_token_, flags_, observer_));
    if (flags_.stop) return Stopped();
    if (!request_.device_lock().empty()) {
      FTD_ASSIGN_OR_RETURN(Fd lock, LockFile(request_.device_lock()));
      lock.Release();  // held by the process, to its very end: until then it has the device's
                       // memory
    }
    auto prepared =
        PrepareRows(request_, spec_, places_.dir, engine::ThreadCount(), observer_, flags_);
    // Asked before the status: rows that a stop cut short are not an error.
    if (flags_.stop) return Stopped();
    FTD_ASSIGN_OR_RETURN(PreparedRows rows, std::move(prepared));
    dataset_rows_ = rows.train->size();
    row_counts_ = rows.report.counts;
    skipped_rows_ = rows.report.skipped_rows;
    TrainSpec trained = spec_;
    trained.learning_rate *= std::exp2(-request_.rollbacks());
    trainer_ = std::make_unique<engine::Trainer>(
        trained, request_.model_dir(), std::move(rows.train), std::move(rows.eval),
        [this](int64_t done, int64_t total) {
          observer_.Progress(v1::Progress::LOAD, {done, total, "bytes"});
        });
    FTD_ASSIGN_OR_RETURN(weights_digest_, WeightsDigest(request_.model_dir()));
    FTD_ASSIGN_OR_RETURN(samples_, Samples::Of(spec_, request_.model_dir(), *trainer_));
    FTD_ASSIGN_OR_RETURN(const ModelConfig config, ReadModelConfig(request_.model_dir()));
    divergence_.emplace(config.vocab_size, trainer_->steps_planned());
    // The log is created after this, because its first step is the one after the checkpoint's.
    FTD_RETURN_IF_ERROR(ResumeWithin(config));
    observer_.Outline({last_step_ + 1, trainer_->steps_planned(), dataset_rows_,
                       trainer_->trainable_parameters(), trainer_->total_parameters()});
    peak_flops_ = request_.peak_tflops() > 0 ? request_.peak_tflops() * 1e12
                                             : engine::DevicePeakFlops(spec_.dtype);
    // A daemon of an older release may read only an older log.
    const int32_t version = std::clamp(request_.step_log_version(), 1, kStepLogVersion);
    FTD_ASSIGN_OR_RETURN(step_log_, StepLogWriter::Create(places_.step_log, last_step_ + 1,
                                                          trainer_->steps_planned(), version));
    FTD_ASSIGN_OR_RETURN(TensorboardWriter tensorboard,
                         TensorboardWriter::Create(places_.tensorboard));
    FTD_RETURN_IF_ERROR(Train(tensorboard));
    // A stop with a checkpoint leaves no result; the next attempt continues.
    if (stopped_) return absl::OkStatus();
    Tell(v1::Progress::EXPORT, {0, 1, "result"});
    FTD_ASSIGN_OR_RETURN(const RunHistory history, History());
    // Everything of the log that a result rests on is on disk before the result appears.
    FTD_RETURN_IF_ERROR(step_log_->Sync());
    FTD_RETURN_IF_ERROR(TakeBestWeights());
    return WriteResult(*trainer_, spec_, Facts(), history, places_);
  }

  // Another job's checkpoint, kept for this one (ftd.v1.Job.start_from).
  absl::Status LoadStartWeights() {
    const std::string& file = request_.start_weights();
    if (file.empty()) return absl::OkStatus();
    FTD_ASSIGN_OR_RETURN(const std::string digest, Sha256File(file));
    if (digest != request_.start_weights_sha256()) {
      return Error(Reason::kCheckpointCorrupt,
                   absl::StrCat(file, ": its bytes are not those that were saved"));
    }
    trainer_->LoadWeights(file);
    return absl::OkStatus();
  }

  // In this order, since the parts in which a checkpoint's micro-batches were computed go before
  // those that the memory of now suggests.
  absl::Status ResumeWithin(const ModelConfig& config) {
    if (!spec_.auto_batch_size) return ResumeState();
    const StepFit fit = trainer_->FitIntoMemory(
        {.device_bytes = request_.device_memory_bytes(),
         .host_reserve = HostMemoryReserve(request_.host_memory_reserve_bytes())});
    FTD_RETURN_IF_ERROR(ResumeState());
    // How many layers a resumed run recomputes also depends on what was free before.
    const int64_t recomputed = request_.resume_from().empty() ? fit.recomputed : 0;
    const std::string text =
        FitText(spec_, trainer_->micro_batch_parts(), recomputed, config.num_hidden_layers);
    if (!text.empty()) observer_.Warning(text);
    return absl::OkStatus();
  }

  absl::Status ResumeState() {
    if (request_.resume_from().empty()) return LoadStartWeights();
    // Hashed again here: time has passed since the daemon chose the checkpoint.
    FTD_ASSIGN_OR_RETURN(Manifest manifest, VerifyDirectory(request_.resume_from()));
    if (manifest.spec_hash != spec_hash_) {
      return Error(Reason::kCheckpointCorrupt,
                   absl::StrCat(request_.resume_from(), " was written for another spec"));
    }
    FTD_RETURN_IF_ERROR(
        CheckBaseWeights(request_.resume_from(), request_.model_dir(), weights_digest_));
    trainer_->LoadState(request_.resume_from(), manifest.step);
    // The rest of a run's state comes from the checkpoint and from the step logs: evaluations, the
    // running totals, and the sums of a logging window that was cut in two.
    last_step_ = saved_step_ = manifest.step;
    const fs::path checkpoint = request_.resume_from();
    FTD_ASSIGN_OR_RETURN(evaluations_, ReadEvaluations(checkpoint / "trainer_state.json"));
    FTD_ASSIGN_OR_RETURN(auto samples, ReadSamples(checkpoint / kSamplesFile));
    samples_->Resume(std::move(samples));
    FTD_ASSIGN_OR_RETURN(const RunHistory history, History());
    for (const v1::StepMetrics& step : history.steps) {
      window_.Add(step);  // the last point of the log may be half done
      divergence_->Add(step);
      if (step.step() != last_step_) continue;
      tokens_total_ = step.tokens_total();
      epoch_ = step.epoch();
    }
    // The best checkpoint may lie in an earlier attempt's directory, which is cleaned up once this
    // attempt has a checkpoint. So it is linked here before that.
    if (BestStep() != 0) {
      FTD_RETURN_IF_ERROR(
          AdoptCheckpoint(checkpoint.parent_path() / CheckpointName(BestStep()), places_.dir));
    }
    // The kill may have come between a checkpoint and the removal of the oldest.
    PruneCheckpoints(places_.dir, spec_.save_total_limit, BestStep());
    return absl::OkStatus();
  }

  // The order within a step: log row, observer, TensorBoard, evaluation, checkpoint. A step is in
  // the log before anything else can mention it.
  absl::Status Train(TensorboardWriter& tensorboard) {
    const auto planned = trainer_->steps_planned();
    observer_.Progress(v1::Progress::TRAIN, {last_step_, planned, "steps"});
    // Without heartbeats the daemon would take a long step for a hang.
    const auto beat = [this] { step_log_->Beat(); };
    if (spec_.playbook_warmup && last_step_ == 0 && !trainer_->PlaybookWarmUp(flags_.halt, beat))
      return Stopped();
    // The checkpoint may be of a stop that came into one of them.
    FTD_RETURN_IF_ERROR(SampleIfDue(tensorboard));
    FTD_RETURN_IF_ERROR(EvaluateIfDue(tensorboard));
    while (last_step_ < planned && !stopped_ && !EndsEarly()) {
      const auto start = Clock::now();
      const auto result = trainer_->Step(flags_.halt, beat);
      // `halt` came between two micro-batches. No weight has changed since last_step_.
      if (!result) return Halted();
      // Not recorded: the steps before it stand, and the checkpoint before it is still good.
      if (const std::string sentence = NotFinite(*result); !sentence.empty())
        return Diverged(sentence);
      for (const std::string& note : result->memory_notes) observer_.Warning(note);
      const v1::StepMetrics step = Record(*result, SecondsSince(start));
      FTD_RETURN_IF_ERROR(step_log_->Append(step));
      observer_.Step(step);
      FTD_RETURN_IF_ERROR(CheckDivergence(step));
      if (stopped_) break;
      if (const auto point = window_.Add(step)) FTD_RETURN_IF_ERROR(tensorboard.Append(*point));
      // Samples first: an evaluation may write a checkpoint, which stands on both.
      FTD_RETURN_IF_ERROR(SampleIfDue(tensorboard));
      FTD_RETURN_IF_ERROR(EvaluateIfDue(tensorboard));
      // After the last step there is a result instead.
      const bool due = spec_.save_steps > 0 && last_step_ % spec_.save_steps == 0 &&
                       last_step_ < planned && IsWorthKeeping();
      if (due) FTD_RETURN_IF_ERROR(Checkpoint());
    }
    // After an early end, which the evaluation decided upon.
    return stopped_ ? absl::OkStatus() : SampleIfDue(tensorboard);
  }

  v1::StepMetrics Record(const engine::StepResult& result, double seconds) {
    v1::StepMetrics step;
    step.set_step(last_step_ = trainer_->steps_taken());
    step.set_epoch(epoch_ = result.epoch);
    step.set_loss(result.loss);
    step.set_entropy(result.entropy);
    step.set_mean_token_accuracy(result.mean_token_accuracy);
    step.set_grad_norm(result.grad_norm);
    step.set_grad_clip_ratio(ClipRatio(result.grad_norm, spec_.max_grad_norm));
    step.set_learning_rate(result.learning_rate);
    step.set_tokens(result.tokens);
    step.set_tokens_total(tokens_total_ += result.tokens);
    step.set_padding_ratio(1 - static_cast<double>(result.tokens) /
                                   static_cast<double>(result.padded_tokens));
    // Input tokens, learned from or not. Padding is not counted, although it takes time.
    step.set_tokens_per_second(static_cast<double>(result.tokens) / seconds);
    step.set_step_seconds(seconds);
    step.set_data_wait_seconds(result.data_wait_seconds);
    // MFU: FLOPs of the model's mathematics, without recomputation, as a share of the device's
    // peak.
    if (peak_flops_ > 0) step.set_mfu(result.model_flops / (seconds * peak_flops_));
    step.set_samples(result.samples);
    *step.mutable_time() = ToTimestamp(absl::Now());
    return step;
  }

  std::string NotFinite(const engine::StepResult& result) const {
    if (std::isfinite(result.loss) && std::isfinite(result.grad_norm)) return "";
    return absl::StrFormat("step %d: loss is %g and grad_norm %g", trainer_->steps_taken(),
                           result.loss, result.grad_norm);
  }

  // Ends a run that diverged: it fails, or this attempt goes back so that the next one continues
  // from before the divergence. Its checkpoints are removed here, because the newest of the job is
  // the one that the next attempt resumes from.
  absl::Status Diverged(const std::string& sentence) {
    if (spec_.on_divergence != OnDivergence::kRollback)
      return Error(Reason::kLossDiverged, sentence);
    if (request_.rollbacks() >= kMostRollbacks) {
      return Error(Reason::kLossDiverged,
                   absl::StrCat(sentence, ", although the learning rate was halved ",
                                kMostRollbacks, " times"));
    }
    RemoveCheckpointsAfter(places_.dir, divergence_->last_good_step());
    if (!request_.resume_from().empty()) {
      RemoveCheckpointsAfter(fs::path(request_.resume_from()).parent_path(),
                             divergence_->last_good_step());
    }
    rolled_back_ = sentence;
    stopped_ = true;
    return absl::OkStatus();
  }

  // A divergence is told once; a new one after the band was entered again is told again.
  absl::Status CheckDivergence(const v1::StepMetrics& step) {
    const std::optional<std::string> sentence = divergence_->Add(step);
    if (sentence && spec_.on_divergence != OnDivergence::kWarn) return Diverged(*sentence);
    if (sentence && !divergence_told_) observer_.Warning(*sentence);
    divergence_told_ = sentence.has_value();
    return absl::OkStatus();
  }

  // A checkpoint out of the band would push out one to go back to.
  bool IsWorthKeeping() const {
    return spec_.on_divergence != OnDivergence::kRollback ||
           divergence_->last_good_step() == last_step_;
  }

  bool EndsEarly() const {
    return spec_.early_stopping_patience > 0 &&
           EvaluationsWithoutGain(evaluations_) >= spec_.early_stopping_patience;
  }

  // Tells the answers to the spec's prompts where they are due.
  absl::Status SampleIfDue(TensorboardWriter& tensorboard) {
    const int64_t planned = trainer_->steps_planned();
    if (!samples_->Due(last_step_, last_step_ == planned || EndsEarly())) return absl::OkStatus();
    const auto beat = [this](int64_t tokens) {
      step_log_->Beat();
      observer_.Progress(v1::Progress::EVAL, {tokens, samples_->most_tokens(), kAnswerUnit});
    };
    beat(0);
    const auto round = samples_->Take(last_step_, flags_.halt, beat);
    if (!round.ok()) {
      observer_.Warning(absl::StrCat("sample_prompts get no answers in this attempt any more: ",
                                     round.status().message()));
    } else if (!*round) {
      return Halted();
    } else {
      for (const v1::GeneratedSample& sample : **round) {
        observer_.Sample(sample);
        FTD_RETURN_IF_ERROR(tensorboard.Append(sample));
      }
    }
    Tell(v1::Progress::TRAIN, {last_step_, planned, "steps"});
    return absl::OkStatus();
  }

  // At each multiple of eval_steps (or at each epoch's end) and after the last step, once for a
  // step: a resumed run may begin with the evaluation of its checkpoint's step in hand.
  bool EvaluationDue() const {
    if (trainer_->eval_rows() == 0 || last_step_ == 0) return false;
    if (!evaluations_.empty() && evaluations_.back().step() == last_step_) return false;
    // An epoch ends where the passes over the data are whole.
    const bool due =
        spec_.eval_steps > 0 ? last_step_ % spec_.eval_steps == 0 : epoch_ == std::floor(epoch_);
    return due || last_step_ == trainer_->steps_planned();
  }

  absl::Status EvaluateIfDue(TensorboardWriter& tensorboard) {
    if (!EvaluationDue()) return absl::OkStatus();
    const int64_t rows = trainer_->eval_rows();
    observer_.Progress(v1::Progress::EVAL, {0, rows, "rows"});
    const auto start = Clock::now();
    const auto result = trainer_->Evaluate(flags_.halt, [&](int64_t done) {
      step_log_->Beat();
      observer_.Progress(v1::Progress::EVAL, {done, rows, "rows"});
    });
    if (!result) return Halted();
    v1::Evaluation& evaluation = evaluations_.emplace_back();
    evaluation.set_step(last_step_);
    evaluation.set_epoch(epoch_);
    evaluation.set_loss(result->loss);
    evaluation.set_entropy(result->entropy);
    evaluation.set_mean_token_accuracy(result->mean_token_accuracy);
    evaluation.set_rows(rows);
    evaluation.set_seconds(SecondsSince(start));
    *evaluation.mutable_time() = google::protobuf::util::TimeUtil::GetCurrentTime();
    observer_.Evaluation(evaluation);
    FTD_RETURN_IF_ERROR(tensorboard.Append(evaluation, absl::Now()));
    FTD_RETURN_IF_ERROR(CheckEvaluations());
    // The best weights so far must outlive training, unless the result has them anyway.
    if (BestStep() == last_step_ && last_step_ < trainer_->steps_planned())
      FTD_RETURN_IF_ERROR(KeepCheckpoint());
    Tell(v1::Progress::TRAIN, {last_step_, trainer_->steps_planned(), "steps"});
    return absl::OkStatus();
  }

  absl::Status CheckEvaluations() {
    // Also because a history is read from disk.
    if (learns_by_heart_told_ || EvaluationsWithoutGain(evaluations_) < kRisingEvaluations)
      return absl::OkStatus();
    FTD_ASSIGN_OR_RETURN(const RunHistory history, History());
    const std::optional<std::string> sentence = LearnsByHeart(history);
    if (sentence) observer_.Warning(*sentence);
    learns_by_heart_told_ = sentence.has_value();
    return absl::OkStatus();
  }

  // Makes sure that a checkpoint of the last step is in this attempt's directory.
  absl::Status KeepCheckpoint() {
    return saved_step_ == last_step_ ? AdoptCheckpoint(request_.resume_from(), places_.dir)
                                     : Checkpoint();
  }

  // Returns the step whose weights are to be the result; 0: the last.
  int64_t BestStep() const {
    const v1::Evaluation* best = spec_.load_best_model_at_end ? BestOf(evaluations_) : nullptr;
    return best == nullptr ? 0 : best->step();
  }

  // Loads the best evaluation's weights (load_best_model_at_end) for the export.
  absl::Status TakeBestWeights() {
    if (BestStep() == 0 || BestStep() == last_step_) return absl::OkStatus();
    const fs::path checkpoint = places_.dir / CheckpointName(BestStep());
    FTD_ASSIGN_OR_RETURN(const Manifest manifest, VerifyDirectory(checkpoint));
    trainer_->LoadState(checkpoint, manifest.step);
    return absl::OkStatus();
  }

  void Tell(v1::Progress::Phase phase, Amount amount) {
    amount.peak_memory = engine::PeakDeviceMemory();
    observer_.Progress(phase, amount);
  }

  // Writes a checkpoint of last_step_, unless there is one. The order: the log is flushed, the
  // directory sealed and renamed, the event sent, older ones removed. A crash between any two costs
  // no checkpoint that was there before.
  absl::Status Checkpoint() {
    if (saved_step_ == last_step_) return absl::OkStatus();
    Tell(v1::Progress::CHECKPOINT, {0, 1, "checkpoint"});
    FTD_RETURN_IF_ERROR(
        step_log_->Sync());  // the steps that a checkpoint stands on last as long as it does
    FTD_ASSIGN_OR_RETURN(const RunHistory history, History());
    const std::string state = TrainerStateJson(spec_, history, trainer_->steps_planned());
    FTD_ASSIGN_OR_RETURN(
        v1::Checkpoint checkpoint,
        WriteCheckpoint(*trainer_, places_.dir, spec_hash_,
                        {.trainer_state_json = state,
                         .samples_jsonl = SamplesJsonl(samples_->all()),
                         .weights_digest = spec_.mode == Mode::kFull ? "" : weights_digest_}));
    saved_step_ = last_step_;
    checkpoint.set_attempt(request_.attempt());
    observer_.Checkpoint(checkpoint);
    PruneCheckpoints(places_.dir, spec_.save_total_limit, BestStep());
    Tell(v1::Progress::TRAIN, {last_step_, trainer_->steps_planned(), "steps"});
    return absl::OkStatus();
  }

  // Ends a run whose step or evaluation was cut short. Without a stop, the steps so far become the
  // result.
  absl::Status Halted() { return flags_.stop || last_step_ == 0 ? Stopped() : absl::OkStatus(); }

  absl::Status Stopped() {
    stopped_ = true;
    return trainer_ != nullptr && last_step_ > 0 ? Checkpoint() : absl::OkStatus();
  }

  // Returns the history of the whole job: earlier attempts' and this one's.
  absl::StatusOr<RunHistory> History() const {
    std::vector<fs::path> logs(request_.earlier_step_logs().begin(),
                               request_.earlier_step_logs().end());
    logs.push_back(places_.step_log);
    FTD_ASSIGN_OR_RETURN(std::vector<v1::StepMetrics> steps, MergeStepLogs(logs));
    // Steps that earlier attempts took after this run's checkpoint, and that it has yet to repeat.
    while (!steps.empty() && steps.back().step() > last_step_) steps.pop_back();
    return RunHistory{std::move(steps), evaluations_, samples_->all()};
  }

  FailedRun Traits() const {
    return {.gradient_checkpointing = spec_.gradient_checkpointing,
            .on_gpu = engine::UsesGpu(),
            .batch_tokens = spec_.batch_tokens > 0,
            .mode = spec_.mode};
  }

  RunFacts Facts() const {
    RunFacts facts;
    facts.job_id = request_.job_id();
    facts.job_name = request_.job_name();
    facts.attempt = request_.attempt();
    facts.model_dir = request_.model_dir();
    if (request_.has_model_reader_uid()) facts.model_reader = request_.model_reader_uid();
    // PEFT looks here for the base model: a repository's name works elsewhere too, a path only
    // here.
    facts.base_model = hub::IsRepoName(spec_.model) ? spec_.model : request_.model_dir();
    facts.weights_digest = weights_digest_;
    facts.dataset_sha256 = spec_.dataset.sha256;
    facts.device = engine::DeviceName();
    facts.dataset_rows = dataset_rows_;
    facts.eval_rows = trainer_->eval_rows();
    facts.row_counts = row_counts_;
    facts.skipped_rows = skipped_rows_;
    facts.steps = last_step_;
    facts.rollbacks = request_.rollbacks();
    facts.tokens_total = tokens_total_;
    facts.trainable_parameters = trainer_->trainable_parameters();
    facts.total_parameters = trainer_->total_parameters();
    facts.recomputed_layers = trainer_->recomputed_layers();
    facts.micro_batch_parts = trainer_->micro_batch_parts();
    facts.threads = engine::ThreadCount();
    return facts;
  }

  const v1::AttemptRequest& request_;
  const TrainSpec& spec_;
  const RunPlaces& places_;
  const std::string& hub_token_;
  const std::function<void(const v1::WorkerEvent::End&)>& end_now_;
  RunObserver& observer_;
  StopFlags& flags_;
  std::string spec_hash_;
  std::string weights_digest_;  // of the model, as it is on disk
  std::unique_ptr<engine::Trainer> trainer_;
  std::optional<StepLogWriter> step_log_;
  std::vector<v1::Evaluation> evaluations_;
  std::optional<Samples> samples_;  // set with the trainer
  LoggingWindow window_;
  std::optional<DivergenceWatch> divergence_;
  std::string rolled_back_;  // why
  bool divergence_told_ = false, learns_by_heart_told_ = false;
  int64_t last_step_ = 0, saved_step_ = 0, tokens_total_ = 0;
  double epoch_ = 0;       // after last_step_
  double peak_flops_ = 0;  // of the device; 0: not known
  int64_t dataset_rows_ = 0, skipped_rows_ = 0;
  RowCounts row_counts_;
  bool stopped_ = false;
};

}  // namespace

v1::WorkerEvent::End RunTraining(const RunOrder& order, RunObserver& observer, StopFlags& flags) {
  return TrainingRun(order, observer, flags).Run();
}

}  // namespace ftd

#include "server/generation/generator.h"

#include <algorithm>
#include <random>
#include <utility>

#include "absl/strings/str_cat.h"
#include "lib/base/error.h"
#include "lib/base/host_memory.h"
#include "lib/base/json.h"
#include "lib/base/short_bytes.h"
#include "lib/plan/fit.h"
#include "server/requests/result_lookup.h"

namespace ftd {
namespace {

using nlohmann::json;

constexpr int kMostStops = 16;

// What a model takes without the sequences that it continues.
int64_t BytesOf(const ModelConfig& config, const HostedModel& model, const HostPlace& place) {
  TrainSpec spec;
  spec.mode = model.nf4 ? Mode::kQlora : Mode::kFull;
  spec.dtype = place.dtype;
  const MemoryPlan plan = LeastMemory(config, spec, !place.on_cpu, /*longest_row=*/1);
  return plan.weights + plan.scratch;
}

// Small enough for JSON's integers in any language.
int64_t DrawSeed() { return static_cast<int64_t>(std::random_device{}()); }

// The request as the worker reads it (worker/run/generation_server.h), which judges the ranges.
absl::StatusOr<std::string> RequestLine(const v1::GenerateRequest& request, int64_t seed) {
  json line = {{"seed", seed}, {"ignore_eos", request.ignore_eos()}};
  if (request.stop_size() > kMostStops)
    return FieldError({{"stop", absl::StrCat("may have ", kMostStops, " texts")}});
  if (request.stop_size() > 0) line["stop"] = request.stop();
  switch (request.input_case()) {
    case v1::GenerateRequest::kPrompt:
      line["prompt"] = request.prompt();
      break;
    case v1::GenerateRequest::kMessagesJson:
      line["messages"] = json::parse(request.messages_json(), nullptr, /*allow_exceptions=*/false);
      if (!line["messages"].is_array())
        return FieldError({{"messages_json", "must be a JSON list of messages"}});
      break;
    default:
      return FieldError({{"prompt", "give prompt or messages_json"}});
  }
  if (request.has_max_new_tokens()) line["max_new_tokens"] = request.max_new_tokens();
  if (request.has_temperature()) line["temperature"] = request.temperature();
  if (request.has_top_k()) line["top_k"] = request.top_k();
  if (request.has_top_p()) line["top_p"] = request.top_p();
  if (request.has_min_p()) line["min_p"] = request.min_p();
  if (request.has_repetition_penalty()) line["repetition_penalty"] = request.repetition_penalty();
  return line.dump(-1, ' ', false, json::error_handler_t::replace);
}

// A worker's error. What it says of the prompt has no reason.
absl::Status ErrorIn(const json& reply) {
  const std::string message = reply.value("error", "");
  std::vector<FieldViolation> violations;
  if (const json* fields = FindField(reply, "fields")) {
    for (const auto& [field, text] : fields->items())
      violations.push_back({field, text.get<std::string>()});
  }
  if (!violations.empty()) return FieldError(violations);
  const Reason reason = ReasonNamed(reply.value("reason", ""));
  if (reason == Reason::kNone) return FieldError({{"prompt", message}});
  return Error(reason == Reason::kHostMemoryGuard ? Reason::kDoesNotFit : reason, message);
}

absl::StatusOr<v1::GenerateResponse> ResponseOf(const json& reply, int64_t seed) {
  if (reply.contains("error")) return ErrorIn(reply);
  v1::GenerateResponse response;
  if (reply.contains("token")) {
    response.mutable_piece()->set_token(static_cast<int32_t>(IntegerOr(reply, "token", 0)));
    response.mutable_piece()->set_text(reply.value("text", ""));
    return response;
  }
  v1::GenerateResponse::Outcome& outcome = *response.mutable_outcome();
  outcome.set_finish_reason(reply.value("finish_reason", ""));
  outcome.set_prompt_tokens(IntegerOr(reply, "prompt_tokens", 0));
  outcome.set_new_tokens(IntegerOr(reply, "new_tokens", 0));
  outcome.set_device(reply.value("device", ""));
  outcome.set_seed(seed);
  return response;
}

}  // namespace

absl::Status Generator::Generate(const v1::GenerateRequest& request, const std::string& job,
                                 const Caller& caller, const GenerateObserver& observer) {
  const int64_t seed = request.has_seed() ? request.seed() : DrawSeed();
  FTD_ASSIGN_OR_RETURN(const std::string line, RequestLine(request, seed));
  FTD_ASSIGN_OR_RETURN(const Source source, Find(request, job, caller));
  const auto loading = [&](bool on_cpu) {
    v1::GenerateResponse response;
    response.mutable_loading()->set_device(on_cpu ? "cpu" : "cuda");
    observer.send(std::move(response));
  };
  const auto on_reply = [&](const json& reply) -> absl::Status {
    FTD_ASSIGN_OR_RETURN(v1::GenerateResponse response, ResponseOf(reply, seed));
    observer.send(std::move(response));
    return absl::OkStatus();
  };
  return hosts_.Answer(source.model, [&] { return Place(source); }, line,
                       {.cancelled = observer.cancelled, .loading = loading, .on_reply = on_reply});
}

absl::StatusOr<Generator::Source> Generator::Find(const v1::GenerateRequest& request,
                                                  const std::string& job,
                                                  const Caller& caller) const {
  Source source;
  switch (request.source_case()) {
    case v1::GenerateRequest::kJob: {
      FTD_ASSIGN_OR_RETURN(source, FindJob(job, request.base()));
      break;
    }
    case v1::GenerateRequest::kModel: {
      if (request.base()) return FieldError({{"base", "is for jobs"}});
      FTD_ASSIGN_OR_RETURN(source.model.model_dir, submitter_.FindModel(request.model(), caller));
      source.name = request.model();
      break;
    }
    default:
      return FieldError({{"job", "give job or model"}});
  }
  FTD_ASSIGN_OR_RETURN(source.config, ReadModelConfig(source.model.model_dir));
  return source;
}

absl::StatusOr<Generator::Source> Generator::FindJob(const std::string& id, bool base) const {
  FTD_ASSIGN_OR_RETURN(const Job job, store_.Get(id));
  FTD_ASSIGN_OR_RETURN(const TrainSpec spec, ResolveTrainSpec(job.spec_json, Dtype::kBfloat16));
  Source source;
  source.name = job.DisplayName();
  source.gpu_dtype = spec.dtype;
  source.model.model_dir = job.model_dir;
  source.model.nf4 = spec.mode == Mode::kQlora;
  if (base) return source;
  FTD_RETURN_IF_ERROR(CheckNotPruned(store_, job));
  FTD_RETURN_IF_ERROR(CheckHasResult(job));
  const bool full = spec.mode == Mode::kFull;
  (full ? source.model.model_dir : source.model.adapter_dir) = job.result_dir;
  return source;
}

absl::StatusOr<HostPlace> Generator::Place(const Source& source) const {
  const auto fits = [&](const HostPlace& place, int64_t room) {
    return BytesOf(source.config, source.model, place) <= room;
  };
  if (device_.cuda && !store_.AnyActive()) {
    const HostPlace gpu{.on_cpu = false, .dtype = source.gpu_dtype};
    const int64_t room = device_.room().bytes;
    if (room == 0 || fits(gpu, room)) return gpu;
  }
  const int64_t room =
      AvailableHostMemory() - std::max<int64_t>(0, device_.host_memory_reserve_bytes);
  for (const Dtype dtype : {Dtype::kFloat32, Dtype::kBfloat16}) {
    const HostPlace cpu{.on_cpu = true, .dtype = dtype};
    if (fits(cpu, room)) return cpu;
  }
  const HostPlace least{.on_cpu = true, .dtype = Dtype::kBfloat16};
  return Error(
      Reason::kDoesNotFit,
      absl::StrCat(source.name, " needs ", ShortBytes(BytesOf(source.config, source.model, least)),
                   " of the host's memory to answer, and ", ShortBytes(std::max<int64_t>(0, room)),
                   " are free"));
}

}  // namespace ftd
